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

/// Where a store takes what nobody can predict from: the machine, or, in a simulation, a seed.
#[derive(Debug, Clone)]
pub(crate) enum Chance {
    Machine,
    /// The same for the same seed; each draw differs.
    Seeded {
        seed: u64,
        drawn: u64,
        /// Which start of the machine this is.
        boot: u64,
    },
}

impl Chance {
    pub(crate) const fn seeded(seed: u64, boot: u64) -> Self {
        Self::Seeded { seed, drawn: 0, boot }
    }

    /// See [`random`].
    pub(crate) fn random(&mut self) -> Result<[u8; 16], Error> {
        match self {
            Self::Machine => random(),
            Self::Seeded { seed, drawn, .. } => {
                *drawn += 1;
                let mut bytes = [0; 16];
                for (index, byte) in bytes.iter_mut().enumerate() {
                    let mixed = (*seed ^ (*drawn << 32) ^ index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    *byte = mixed.to_be_bytes()[0];
                }
                Ok(bytes)
            }
        }
    }

    /// See [`boot_id`].
    pub(crate) fn boot_id(&self) -> Vec<u8> {
        match self {
            Self::Machine => boot_id(),
            Self::Seeded { boot, .. } => boot.to_le_bytes().to_vec(),
        }
    }

    /// See [`process_id`].
    pub(crate) fn process_id(&self) -> u32 {
        match self {
            Self::Machine => process_id(),
            Self::Seeded { .. } => 1,
        }
    }
}
