//! `send`: posts deliveries as Linear would, to try a receiver.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ledgerline::service::{Given, Sample, SigningSecret, printable};
use serde::Deserialize;

use super::arguments::TROUBLE;
use super::output::Output;
use super::store::resolve;
use super::trouble::Trouble;

/// Linear gives up after 5 s; a person who tries things may be more patient.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Post deliveries as Linear would: signed, named and stamped with the present time
#[derive(Args)]
#[command(after_help = SECRETS)]
pub(super) struct Send {
    /// Files that hold one body each
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Where to post to, plain HTTP only; without it, where the service of this configuration listens
    #[arg(long)]
    url: Option<String>,
    /// A file that holds the signing secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The data directory of the service, for the secret that it generated
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The configuration file that the service was started with [environment: LEDGERLINE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The id of the delivery; without it each one gets a new UUID
    #[arg(long, value_name = "ID")]
    delivery: Option<String>,
    /// Alter `createdAt`, so that it is another event
    #[arg(long)]
    again: bool,
    /// Leave `webhookTimestamp` as it is
    #[arg(long)]
    keep_timestamp: bool,
}

const SECRETS: &str =
    "Signed with --secret-file, else LINEAR_WEBHOOK_SECRET, else the first of the configuration's secret_files, \
    else the secret that the service generated in its data directory.
Prints `kept ID`, or `duplicate of ID (same delivery)`, or `duplicate of ID (same body)`; an id that is forgotten is not named.";

/// What the receiver says to a delivery that is kept.
#[derive(Deserialize)]
struct Kept {
    id: String,
    duplicate: bool,
    /// That it is known by its body alone, and the id is the one that was sent.
    #[serde(default)]
    forgotten: bool,
}

/// What it says to one that is not.
#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Send {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        if self.delivery.is_some() && self.files.len() > 1 {
            return Err(Trouble::new("--delivery names one delivery, but several files were given"));
        }
        let given = self.secret_file.iter().fold(Given::new(), Given::secret_file);
        let config = resolve(self.data.as_ref(), self.config.as_ref(), given)?;
        let url = self.url.clone().unwrap_or_else(|| Sample::url_of(&config));
        self.check(&url)?;
        let secret = SigningSecret::for_sending(&config)?;
        let agent = agent();
        let mut output = Output::new();
        let mut code = ExitCode::SUCCESS;
        for file in &self.files {
            match self.send(&agent, &url, &secret, file) {
                Ok(told) => {
                    let _ = output.told(told);
                }
                Err(trouble) => {
                    trouble.tell(false);
                    code = ExitCode::from(TROUBLE);
                }
            }
        }
        output.finish()?;
        Ok(code)
    }

    fn check(&self, url: &str) -> Result<(), Trouble> {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("http") => {}
            Some("https") => {
                return Err(Trouble::new(format!(
                    "{url} needs TLS, which is not built in: post to the receiver itself, by http://"
                )));
            }
            _ => return Err(Trouble::new(format!("--url is {url:?}; it must begin with http://"))),
        }
        match &self.delivery {
            Some(id) if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(Trouble::new(format!("--delivery is {id:?}; it must be visible ASCII")))
            }
            _ => Ok(()),
        }
    }

    /// Posts one file, and says what became of it.
    fn send(&self, agent: &ureq::Agent, url: &str, secret: &SigningSecret, file: &Path) -> Result<String, Trouble> {
        let sample = self.sample(file)?;
        let delivery = self.delivery.clone().map_or_else(Sample::delivery_id, Ok)?;
        let mut request = agent.post(url);
        for (name, value) in sample.headers(secret, &delivery) {
            request = request.header(name, value);
        }
        let mut response = request.send(sample.body()).map_err(|error| {
            let hint = match &error {
                ureq::Error::Io(cause)
                    if matches!(cause.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
                {
                    "; it closed the connection (is the body longer than it takes?); is `ledgerline serve` running there?"
                }
                ureq::Error::Io(_) => "; is `ledgerline serve` running there?",
                _ => "",
            };
            let what = format!("cannot post {} to {url}{hint}", file.display());
            Trouble::during(&what, &error)
        })?;
        let status = response.status().as_u16();
        let answer = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let answer =
            answer.map_err(|error| Trouble::during(&format!("the answer to {} broke off", file.display()), &error))?;
        match (status, serde_json::from_str::<Kept>(&answer)) {
            (200, Ok(kept)) => Ok(kept.told(&delivery)),
            (200, Err(_)) => Err(Trouble::new(format!("{url} answers 200, but is no ledgerline"))),
            _ => Err(refused(status, &answer, secret, file)),
        }
    }

    fn sample(&self, file: &Path) -> Result<Sample, Trouble> {
        let mut sample = Sample::read(file)?;
        let odd = |error| {
            Trouble::during(&format!("cannot alter {}; --keep-timestamp posts it as it is", file.display()), &error)
        };
        if self.again {
            sample = sample.renewed().map_err(odd)?;
        }
        if !self.keep_timestamp {
            sample = sample.stamped().map_err(odd)?;
        }
        Ok(sample)
    }
}

impl Kept {
    /// The answer names the event; a duplicate under the very id that was sent is the same delivery, unless its own id is forgotten, and
    /// under any other the same body.
    fn told(&self, delivery: &str) -> String {
        let id = printable(&self.id);
        match (self.duplicate, self.id == delivery) {
            (false, _) => format!("kept {id}"),
            (true, _) if self.forgotten => "duplicate of an event whose id is forgotten (same body)".to_owned(),
            (true, true) => format!("duplicate of {id} (same delivery)"),
            (true, false) => format!("duplicate of {id} (same body)"),
        }
    }
}

fn refused(status: u16, answer: &str, secret: &SigningSecret, file: &Path) -> Trouble {
    let next = match status {
        400 => "its body is no delivery".to_owned(),
        401 => format!(
            "the receiver has another secret than {}, which this was signed with, or refuses deliveries whose time is off",
            secret.source()
        ),
        404 | 405 => "deliveries are taken elsewhere: see the address that `ledgerline serve` prints".to_owned(),
        413 => "it is longer than the receiver takes".to_owned(),
        503 => "try again later".to_owned(),
        _ => "see the receiver's log".to_owned(),
    };
    let named = serde_json::from_str(answer).map(|Refused { error }| format!(" ({error})")).unwrap_or_default();
    Trouble::new(format!("{} was not kept: answer {status}{named}: {next}", file.display()))
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        // Every status is an answer here, and the receiver is on this machine or near it.
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(TIMEOUT))
        .build()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_is_told_by_the_id_that_was_sent() {
        for (answer, told) in [
            (r#"{"id":"sent","duplicate":false}"#, "kept sent"),
            (r#"{"id":"sent~1f","duplicate":false}"#, "kept sent~1f"),
            (r#"{"id":"sent","duplicate":true}"#, "duplicate of sent (same delivery)"),
            (r#"{"id":"other","duplicate":true}"#, "duplicate of other (same body)"),
            (
                r#"{"id":"sent","duplicate":true,"forgotten":true}"#,
                "duplicate of an event whose id is forgotten (same body)",
            ),
        ] {
            let kept: Kept = serde_json::from_str(answer).unwrap();
            assert_eq!(kept.told("sent"), told);
        }
    }
}
