//! What `serve` says when it is ready: where, with what, and what to try.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use super::config::{Config, SecretFrom};
use super::printable::printable;
use super::receiver;
use super::sample::{Sample, reachable};
use super::secret::{SecretSource, SigningSecret};
use super::settings;
use crate::env::Dir;
use crate::store::Recovery;

/// A sample that the sources bring along.
const SAMPLE: (&str, &str) = ("tests/fixtures/linear", "issue_create.json");

/// What there is to say.
pub(super) struct Banner<'a> {
    /// How the command was called.
    pub(super) program: &'a str,
    pub(super) config: &'a Config,
    pub(super) address: SocketAddr,
    pub(super) store: &'a str,
    pub(super) epoch: u64,
    pub(super) recovery: &'a Recovery,
    pub(super) secrets: &'a [SigningSecret],
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "ledgerline {version} listens on {}", Sample::url(&self.address.to_string()))?;
        let data = printable(&self.config.data.display().to_string());
        if self.config.in_memory {
            writeln!(
                f,
                "  data      in memory: nothing survives the end of this process ({data} holds the control socket)"
            )?;
        } else {
            writeln!(f, "  data      {data} (store {}, start {})", self.store, self.epoch)?;
        }
        writeln!(f, "  recovery  {}", Recovered(self.recovery))?;
        for secret in self.secrets {
            writeln!(f, "  secret    {}", printable(&secret.source().to_string()))?;
        }
        writeln!(f, "  try       {}", self.send_line())?;
        if self.secrets.iter().any(|secret| matches!(secret.source(), SecretSource::Generated(_))) {
            writeln!(
                f,
                "The generated secret is for trying. Put the signing secret that Linear shows into a file and give it with \
                 --secret-file FILE."
            )?;
        }
        let port = self.address.port();
        writeln!(
            f,
            "Linear needs a public HTTPS address that forwards {}, and only that, to port {port} of this machine.",
            receiver::PATH
        )
    }
}

impl Banner<'_> {
    /// The line that posts a sample to this service from a second terminal, in the same working directory.
    fn send_line(&self) -> String {
        let (directory, name) = SAMPLE;
        let sample = if Dir::open(Path::new(directory)).is_ok_and(|directory| directory.has(name)) {
            format!("{directory}/{name}")
        } else {
            "FILE".to_owned()
        };
        let mut line = format!("{} send {sample}", quoted(self.program));
        if matches!(self.config.secret, SecretFrom::Variable(_)) {
            // The other terminal lacks the variable; the secret itself is never shown.
            line.insert_str(0, &format!("{}=... ", settings::SECRET_VARIABLE));
        }
        let address = reachable(self.address).to_string();
        if address != settings::LISTEN.default {
            line.push_str(" --url ");
            line.push_str(&Sample::url(&address));
        }
        let mut option = |flag: &str, path: &Path| {
            // Writing to a String does not fail.
            let _ = write!(line, " --{flag} {}", quoted(&path.display().to_string()));
        };
        match &self.config.secret {
            SecretFrom::Files(paths) => paths.first().into_iter().for_each(|path| option("secret-file", path)),
            SecretFrom::Directory if self.config.data != Path::new(settings::DATA.default) => {
                option("data", &self.config.data);
            }
            SecretFrom::Directory | SecretFrom::Variable(_) => {}
        }
        line
    }
}

/// `word` as a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%=,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", printable(word).replace('\'', r"'\''"))
}

/// What opening did, as a sentence.
struct Recovered<'a>(&'a Recovery);

impl fmt::Display for Recovered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recovery { records, segments, bytes_cut, events_released, events_condemned, elapsed_ms, .. } = *self.0;
        if self.0.created {
            return f.write_str("a new store was created");
        }
        write!(f, "{} in {} read in {elapsed_ms} ms", Count(records, "record"), Count(segments, "segment"))?;
        if self.0.closed_cleanly {
            f.write_str("; closed in good order before")?;
        } else {
            f.write_str("; the process before ended without closing it")?;
        }
        if bytes_cut > 0 {
            write!(f, "; {} of an unfinished write cut off and kept aside in cut/", Count(bytes_cut, "byte"))?;
        }
        if events_released > 0 {
            write!(f, "; {} that it was processing will run again", Count(events_released, "event"))?;
        }
        if events_condemned > 0 {
            write!(f, "; {} given up for killing the process again and again", Count(events_condemned, "event"))?;
        }
        Ok(())
    }
}

/// A count and its noun, in the plural unless it is one.
struct Count(u64, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, noun) = self;
        write!(f, "{count} {noun}{}", if *count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_recovery_did_is_told_in_full() {
        let mut recovery = Recovery { created: true, ..Recovery::default() };
        assert_eq!(Recovered(&recovery).to_string(), "a new store was created");
        recovery = Recovery { closed_cleanly: true, segments: 1, records: 7, elapsed_ms: 3, ..Recovery::default() };
        assert_eq!(
            Recovered(&recovery).to_string(),
            "7 records in 1 segment read in 3 ms; closed in good order before"
        );
        recovery = Recovery { closed_cleanly: false, segments: 2, bytes_cut: 17, events_released: 1, ..recovery };
        assert_eq!(
            Recovered(&recovery).to_string(),
            "7 records in 2 segments read in 3 ms; the process before ended without closing it; 17 bytes of an unfinished write \
             cut off and kept aside in cut/; 1 event that it was processing will run again"
        );
        recovery = Recovery { closed_cleanly: true, segments: 1, events_condemned: 2, ..Recovery::default() };
        assert_eq!(
            Recovered(&recovery).to_string(),
            "0 records in 1 segment read in 0 ms; closed in good order before; 2 events given up for killing the process again and \
             again"
        );
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_take_it_apart() {
        for (word, expected) in [
            ("target/release/ledgerline", "target/release/ledgerline"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
