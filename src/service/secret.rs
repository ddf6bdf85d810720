//! The signing secrets, and where each one comes from.
//!
//! ```text
//! --secret-file (all of them) ─ else ─► LINEAR_WEBHOOK_SECRET ─ else ─► secret_files ─ else ─► DATA/secret, generated
//! ```
//!
//! The generated one is for trying: it is made on the first start and active only while nothing else is configured, so that nobody can
//! sign with it once a real one is in place. Messages name a secret's source; nothing shows its value.

use std::fmt;
use std::path::{Path, PathBuf};

use super::config::{Config, SecretFrom};
use super::{named_file, settings};
use crate::env::{self, Dir};
use crate::error::{Error, ErrorKind};
use crate::event::hex;
use crate::webhook::Secret;

/// Linear's secrets have some forty characters; whatever is this long is another file.
const FILE_BYTES_MAX: u64 = 4 * 1024;

/// The file in the data directory that holds the generated secret.
const GENERATED: &str = "secret";

/// A secret that signs and proves deliveries. It never shows itself.
#[derive(Debug, Clone)]
pub struct SigningSecret {
    pub(super) secret: Secret,
    source: SecretSource,
    oddity: Option<&'static str>,
}

/// Where a secret came from, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretSource {
    /// A file that was named.
    File(PathBuf),
    /// The variable of this name.
    Variable(&'static str),
    /// The file in the data directory, made by the service for trying.
    Generated(PathBuf),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Generated(path) => write!(f, "the generated {}", path.display()),
        }
    }
}

impl SigningSecret {
    /// The secret that `send` signs with: the first configured one, else the one that the service generated.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if nothing is configured and no service ever started on the data directory.
    pub fn for_sending(config: &Config) -> Result<Self, Error> {
        if let Some(first) = Self::configured(config)?.into_iter().next() {
            return Ok(first);
        }
        let data = config.data();
        let none = || {
            Error::new(
                ErrorKind::NotFound,
                format!(
                    "no secret to sign with: {} is not there. Start `ledgerline serve` with this data directory once, or give \
                     --secret-file FILE or {}",
                    data.join(GENERATED).display(),
                    settings::SECRET_VARIABLE
                ),
            )
        };
        Self::generated_before(data)?.ok_or_else(none)
    }

    /// The one that a service has generated in the data directory, if one has.
    pub(super) fn generated_before(data: &Path) -> Result<Option<Self>, Error> {
        match Dir::open(data) {
            Ok(dir) => Self::read_generated(&dir),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(named_file::refused(error)),
        }
    }

    /// Where it came from.
    pub fn source(&self) -> &SecretSource {
        &self.source
    }

    /// What about it a sender hardly has, such as white space that was pasted along. It is part of the secret all the same.
    pub(super) fn oddity(&self) -> Option<&'static str> {
        self.oddity
    }

    /// All that are configured; they are read anew each time.
    pub(super) fn configured(config: &Config) -> Result<Vec<Self>, Error> {
        match &config.secret {
            SecretFrom::Files(paths) => paths.iter().map(|path| Self::read_named(path)).collect(),
            SecretFrom::Variable(value) => {
                Ok(vec![Self::new(value, SecretSource::Variable(settings::SECRET_VARIABLE))?])
            }
            SecretFrom::Directory => Ok(Vec::new()),
        }
    }

    /// The generated secret of the data directory, made now if there is none. Only for the holder of the directory's lock. Durable
    /// once this returns.
    pub(super) fn generated(dir: &Dir) -> Result<Self, Error> {
        if let Some(secret) = Self::read_generated(dir)? {
            return Ok(secret);
        }
        let random: [u8; 32] = env::random().map_err(named_file::refused)?;
        let mut line = hex::encode(&random);
        line.push('\n');
        // Replacing and not creating: a crash leaves the whole file or none, and no empty one to refuse at the next start.
        dir.replace(GENERATED, line.as_bytes()).map_err(named_file::refused)?;
        Self::new(line.as_bytes(), SecretSource::Generated(dir.path().join(GENERATED)))
    }

    fn read_generated(dir: &Dir) -> Result<Option<Self>, Error> {
        let source = SecretSource::Generated(dir.path().join(GENERATED));
        let bytes = dir.read(GENERATED, FILE_BYTES_MAX).map_err(named_file::refused)?;
        bytes.map(|bytes| Self::new(&bytes, source)).transpose()
    }

    fn read_named(path: &Path) -> Result<Self, Error> {
        let bytes = named_file::read(path, FILE_BYTES_MAX)?;
        Self::new(&bytes, SecretSource::File(path.to_owned()))
    }

    fn new(bytes: &[u8], source: SecretSource) -> Result<Self, Error> {
        let secret = Secret::new(bytes).map_err(|refused| Error::invalid(format!("{source}: {refused}")))?;
        Ok(Self { secret, source, oddity: oddity(bytes) })
    }
}

/// What is odd about the secret that `bytes` hold, none of which shows.
fn oddity(bytes: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(Secret::trimmed(bytes));
    let bare = text.trim();
    if bare.is_empty() {
        Some("is white space alone")
    } else if text.starts_with('\u{feff}') {
        Some("begins with a byte order mark")
    } else if bare.len() < text.len() {
        Some("begins or ends with white space")
    } else if bare.chars().any(char::is_control) {
        Some("holds control characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Given;

    fn dir() -> (tempfile::TempDir, Dir) {
        let temporary = tempfile::tempdir().unwrap();
        let dir = Dir::open(temporary.path()).unwrap();
        (temporary, dir)
    }

    fn write(dir: &Dir, name: &str, text: &str) -> PathBuf {
        dir.replace(name, text.as_bytes()).unwrap();
        dir.path().join(name)
    }

    #[test]
    fn a_generated_secret_is_private_stays_and_is_64_hexadecimal_digits() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_temporary, dir) = dir();
        let first = SigningSecret::generated(&dir).unwrap();
        let again = SigningSecret::generated(&dir).unwrap();
        assert_eq!(first.secret.sign(b"body"), again.secret.sign(b"body"));
        let text = String::from_utf8(dir.read("secret", 100).unwrap().unwrap()).unwrap();
        let digits = text.strip_suffix('\n').unwrap();
        assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
        let mode = dir.path().join("secret").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn files_win_over_the_variable_and_the_generated_secret_is_only_for_lack_of_both() {
        let (_temporary, dir) = dir();
        let one = write(&dir, "one", "the first of two secrets\n");
        let two = write(&dir, "two", "the second of two secrets\n");
        let data = || Given::new().data(dir.path());
        let variable =
            |given: Given| given.environment([("LINEAR_WEBHOOK_SECRET".into(), "a secret in a variable".into())]);
        let files = |given: Given| given.secret_file(&one).secret_file(&two);
        let sources = |given: Given| -> Vec<SecretSource> {
            let secrets = SigningSecret::configured(&given.resolve().unwrap()).unwrap();
            secrets.into_iter().map(|secret| secret.source).collect()
        };
        assert_eq!(sources(data()), []);
        assert_eq!(sources(variable(data())), [SecretSource::Variable("LINEAR_WEBHOOK_SECRET")]);
        assert_eq!(
            sources(files(variable(data()))),
            [SecretSource::File(one.clone()), SecretSource::File(two.clone())]
        );

        let sending = |given: Given| SigningSecret::for_sending(&given.resolve().unwrap());
        let none = sending(data()).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotFound);
        assert!(none.to_string().contains("ledgerline serve"), "{none}");
        SigningSecret::generated(&dir).unwrap();
        assert_eq!(sending(data()).unwrap().source, SecretSource::Generated(dir.path().join("secret")));
        assert_eq!(sending(files(data())).unwrap().source, SecretSource::File(one.clone()));
    }

    #[test]
    fn a_secret_that_is_refused_is_named_by_its_source_and_never_shown() {
        let (_temporary, dir) = dir();
        let short = write(&dir, "short", "sesame\n");
        let file = Given::new().secret_file(&short).resolve().unwrap();
        let variable = Given::new().environment([("LINEAR_WEBHOOK_SECRET".into(), "sesame".into())]).resolve().unwrap();
        for (config, name) in [(file, short.to_str().unwrap()), (variable, "LINEAR_WEBHOOK_SECRET")] {
            let error = SigningSecret::configured(&config).unwrap_err();
            for text in [error.to_string(), format!("{error:?}"), format!("{config:?}")] {
                assert!(!text.contains("sesame"), "{text}");
            }
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn what_a_sender_hardly_has_is_odd() {
        for (text, odd) in [
            ("a secret for these tests", None),
            ("a secret for these tests\n", None),
            ("a secret for these tests\r\n", None),
            ("ett hemligt lösenord med å", None),
            ("a secret for these tests\n\n", Some("begins or ends with white space")),
            ("a secret for these tests ", Some("begins or ends with white space")),
            ("\ta secret for these tests", Some("begins or ends with white space")),
            ("                    \n", Some("is white space alone")),
            ("\u{feff}a secret for these tests", Some("begins with a byte order mark")),
            ("a secret\0for these tests", Some("holds control characters")),
            ("a secret\nfor these tests\n", Some("holds control characters")),
        ] {
            let variable = [("LINEAR_WEBHOOK_SECRET".into(), text.into())];
            let config = Given::new().environment(variable).resolve().unwrap();
            let secret = SigningSecret::configured(&config).unwrap().remove(0);
            assert_eq!(secret.oddity(), odd, "{text:?}");
        }
    }

    #[test]
    fn a_secret_is_read_through_a_symbolic_link() {
        let (_temporary, dir) = dir();
        let real = write(&dir, "real", "a secret that is mounted\n");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let config = Given::new().secret_file(&link).resolve().unwrap();
        assert_eq!(SigningSecret::configured(&config).unwrap().len(), 1);
    }
}
