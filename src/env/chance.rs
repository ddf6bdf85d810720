//! Values that only the machine can give: randomness, the boot's identity, the process's number.

use std::io::Read as _;
use std::path::Path;

use crate::env::Error;

/// `N` bytes that nobody can predict.
#[expect(clippy::disallowed_methods, reason = "the kernel's randomness is read as a file")]
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; N];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|source| Error::new("read randomness from", path, source))?;
    Ok(bytes)
}

/// What identifies this boot of the machine: deaths that a reboot caused are not an event's fault. Empty where the system does not
/// say; then every death counts.
#[expect(clippy::disallowed_methods, reason = "the kernel tells it through a file")]
pub(crate) fn boot_id() -> Vec<u8> {
    std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// The number of this process.
pub(crate) fn process_id() -> u32 {
    std::process::id()
}
