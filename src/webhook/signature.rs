//! Who sent it: HMAC-SHA256 of the raw body under a shared secret.
//!
//! The header is the lowercase bare hex of the code, 64 characters. Linear's own client takes neither uppercase digits nor a
//! `sha256=` prefix, so neither is taken here.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::event::hex;

/// Shorter secrets can be guessed; Linear's have more than forty characters.
const SECRET_BYTES_MIN: usize = 16;

/// Bytes of a code.
const CODE_BYTES: usize = 32;

/// A signing secret, ready for use. It never shows itself: the bytes are not even kept, only the hash states that follow from them.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

/// The secret is too short to prove anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a signing secret of {len} bytes is refused: it needs at least {SECRET_BYTES_MIN}, without the newline that ends its file"
)]
pub struct SecretRefused {
    /// Its length, without the newline.
    pub len: usize,
}

/// Why a body is not proven. It is for the log alone: whoever sent it gets one uniform answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unproven {
    /// There is no signature.
    #[error("there is no signature")]
    Missing,
    /// It is not 64 lowercase hexadecimal digits.
    #[error("the signature has {len} bytes, or others than 64 lowercase hexadecimal digits")]
    Malformed {
        /// Its length in bytes.
        len: usize,
    },
    /// No secret made it for this body.
    #[error("the signature was made with another secret, or for another body")]
    Wrong,
}

impl Secret {
    /// The secret that `bytes` hold: a file's content, or a variable's. Exactly one newline at the end (`\n` or `\r\n`) is cut,
    /// because editors and `echo` add it; whatever else is there belongs to the secret.
    ///
    /// # Errors
    /// [`SecretRefused`] if fewer than 16 bytes are left.
    pub fn new(bytes: &[u8]) -> Result<Self, SecretRefused> {
        let bytes = Self::trimmed(bytes);
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(SecretRefused { len: bytes.len() });
        }
        Ok(Self::keyed(bytes))
    }

    /// What of `bytes` is the secret.
    pub(crate) fn trimmed(bytes: &[u8]) -> &[u8] {
        match bytes.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => bytes,
        }
    }

    /// A secret without the lower bound: published vectors use short ones.
    #[cfg(test)]
    pub(crate) fn of_any_length(bytes: &[u8]) -> Self {
        Self::keyed(bytes)
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length; the error belongs to other codes")]
    fn keyed(bytes: &[u8]) -> Self {
        Self(Hmac::new_from_slice(bytes).expect("HMAC takes keys of every length"))
    }

    /// The signature of `body`, as it stands in the header.
    pub fn sign(&self, body: &[u8]) -> String {
        hex::encode(&self.0.clone().chain_update(body).finalize().into_bytes())
    }

    fn proves(&self, body: &[u8], code: &[u8; CODE_BYTES]) -> bool {
        // `verify_slice` takes the same time wherever the codes differ.
        self.0.clone().chain_update(body).verify_slice(code).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Proves that the holder of one of `secrets` signed exactly `body`. Several are active while a secret is being changed.
///
/// # Errors
/// [`Unproven`]; nothing of the body may be looked at then.
pub fn verify(secrets: &[Secret], body: &[u8], header: Option<&[u8]>) -> Result<(), Unproven> {
    let header = header.ok_or(Unproven::Missing)?;
    let code = hex::decode(header).ok_or(Unproven::Malformed { len: header.len() })?;
    // All secrets are tried even after one fits, so that the time taken does not tell which.
    let proven = secrets.iter().fold(false, |proven, secret| secret.proves(body, &code) | proven);
    if proven { Ok(()) } else { Err(Unproven::Wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::samples;

    const VECTOR: &str = "5c322ea2d639309d6051a4ef86cc42ea5a572a4ab8195b45328241844516fe7e";

    #[test]
    fn the_published_vector_is_signed_and_proven() {
        let body = samples::named("issue_create").as_bytes();
        let secret = Secret::of_any_length(b"hunter2secret");
        assert_eq!(secret.sign(body), VECTOR);
        assert_eq!(verify(&[secret], body, Some(VECTOR.as_bytes())), Ok(()));
    }

    #[test]
    fn only_sixty_four_lowercase_digits_of_the_right_code_prove_a_body() {
        let body = samples::named("issue_create").as_bytes();
        let secrets = [Secret::of_any_length(b"hunter2secret")];
        let with = |header: &str| verify(&secrets, body, Some(header.as_bytes()));
        assert_eq!(verify(&secrets, body, None), Err(Unproven::Missing));
        for header in [
            String::new(),
            VECTOR.to_uppercase(),
            VECTOR.replacen('c', "C", 1),
            format!("sha256={VECTOR}"),
            format!(" {VECTOR}"),
            format!("{VECTOR}\n"),
            VECTOR[..63].to_owned(),
            VECTOR[..62].to_owned(),
            format!("{VECTOR}00"),
            VECTOR.replacen('5', "g", 1),
        ] {
            assert_eq!(with(&header), Err(Unproven::Malformed { len: header.len() }), "{header:?}");
        }
        for at in 0..64 {
            let digit = if &VECTOR[at..=at] == "0" { "1" } else { "0" };
            assert_eq!(
                with(&format!("{}{digit}{}", &VECTOR[..at], &VECTOR[at + 1..])),
                Err(Unproven::Wrong),
                "digit {at}"
            );
        }
        assert_eq!(verify(&secrets, b"another body", Some(VECTOR.as_bytes())), Err(Unproven::Wrong));
        assert_eq!(verify(&[], body, Some(VECTOR.as_bytes())), Err(Unproven::Wrong));
    }

    #[test]
    fn each_of_several_secrets_proves() {
        let secrets =
            [b"the old secret of the team", b"the new secret of the team"].map(|bytes| Secret::new(bytes).unwrap());
        for secret in &secrets {
            assert_eq!(verify(&secrets, b"body", Some(secret.sign(b"body").as_bytes())), Ok(()));
        }
        let other = Secret::new(b"a secret of somebody else").unwrap();
        assert_eq!(verify(&secrets, b"body", Some(other.sign(b"body").as_bytes())), Err(Unproven::Wrong));
    }

    #[test]
    fn exactly_one_newline_is_cut_and_what_is_too_short_is_refused() {
        let code = |bytes: &[u8]| Secret::new(bytes).map(|secret| secret.sign(b"body"));
        let plain = Secret::of_any_length(b"0123456789abcdef").sign(b"body");
        for bytes in ["0123456789abcdef", "0123456789abcdef\n", "0123456789abcdef\r\n"] {
            assert_eq!(code(bytes.as_bytes()), Ok(plain.clone()), "{bytes:?}");
        }
        for bytes in ["0123456789abcdef\n\n", "0123456789abcdef\r", "0123456789abcdef ", "\n0123456789abcdef"] {
            assert_ne!(code(bytes.as_bytes()), Ok(plain.clone()), "{bytes:?}");
        }
        for (bytes, len) in [("", 0), ("\r\n", 0), ("0123456789abcde", 15), ("0123456789abcde\n", 15)] {
            assert_eq!(code(bytes.as_bytes()), Err(SecretRefused { len }), "{bytes:?}");
        }
    }

    #[test]
    fn neither_a_secret_nor_its_refusal_shows_the_value() {
        let secret = Secret::new(b"0123456789abcdef").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        let refused = Secret::new(b"sesame").unwrap_err();
        for text in [refused.to_string(), format!("{refused:?}")] {
            assert!(text.contains('6') && !text.contains("sesame"), "{text}");
        }
    }
}
