//! Words that nobody else uses are planted where secrets are: as signing secrets, in headers that are not kept, and in bodies. Then
//! everything that the program says and writes is searched for them.
//!
//! A signing secret, a signature and a foreign credential show themselves nowhere. What a body says is kept, and shown to whoever asks
//! for the event; but it reaches no log, no statistics and no message.
#![cfg(feature = "cli")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what its own scaffolding cannot do fails a test, and that includes files"
)]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use hmac::{Hmac, KeyInit as _, Mac as _};
use ledgerline::service::{Given, Operation, Sample, SigningSecret};
use ledgerline::webhook::{Delivery, Secret};
use ledgerline::{NewEvent, Store, StoreOptions, Timestamp};
use sha2::Sha256;

const SIGNING: &str = "canary-signing-7d1f4c";
const CREDENTIAL: &str = "canary-credential-a90b3e";
const BODY: &str = "canary-body-5e21d8";

fn sign(secret: &str, body: &str) -> String {
    let code = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body).finalize();
    hex(&code.into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
}

/// Whether `bytes` hold `word`, as it is or as hexadecimal digits.
fn holds(bytes: &[u8], word: &str) -> bool {
    let find = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    find(word.as_bytes()) || find(hex(word.as_bytes()).as_bytes())
}

/// Fails where `said` holds one of `words`.
fn silent(place: &str, said: impl AsRef<[u8]>, words: &[&str]) {
    let said = said.as_ref();
    for word in words {
        assert!(!holds(said, word), "{place} shows {word}: {}", String::from_utf8_lossy(said));
    }
}

/// A service that logs all it can; what it says on stderr and on stdout is gathered.
struct Serving {
    child: Child,
    address: String,
    said: JoinHandle<String>,
    printed: JoinHandle<String>,
}

impl Serving {
    fn start(directory: &Path, given: impl Fn(&mut Command)) -> Self {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--log", "trace", "--body-bytes-max", "4096"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_ledgerline"));
        given(command.current_dir(directory).env_clear().args(arguments));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (mut stderr, mut banner) = (BufReader::new(stderr), String::new());
        while !banner.contains("Linear needs") {
            assert!(stderr.read_line(&mut banner).unwrap() > 0, "the service ended early: {banner}");
        }
        let url = banner.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        let address = url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let said = std::thread::spawn(move || {
            stderr.read_to_string(&mut banner).unwrap();
            banner
        });
        let printed = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        Self { child, address, said, printed }
    }

    /// Posts a body, with a credential of somebody else's, and returns the whole answer.
    fn post(&self, id: &str, signature: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "POST /webhooks/linear?token={CREDENTIAL} HTTP/1.1\r\nHost: receiver\r\nConnection: close\r\n\
             Authorization: Bearer {CREDENTIAL}\r\nCookie: session={CREDENTIAL}\r\nX-Api-Key: {CREDENTIAL}\r\n\
             Linear-Delivery: {id}\r\nLinear-Signature: {signature}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A body that is too long is refused before it has been read.
        let _ = stream.write_all(body.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    /// Asks it to end; returns what it said and what it printed.
    fn end(mut self) -> (String, String) {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success() && self.child.wait().unwrap().success());
        (self.said.join().unwrap(), self.printed.join().unwrap())
    }
}

/// What a command says, whatever it does.
fn run(program: &str, directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command.current_dir(directory).env_clear().args(arguments).output().unwrap();
    let texts = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    format!("{arguments:?} exits with {:?}\n{}", output.status.code(), texts.concat())
}

/// All files below `directory`, with what they hold.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.is_file() {
            files.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    files
}

fn body(title: &str) -> String {
    format!(r#"{{"action":"create","type":"Issue","data":{{"id":"key-1","title":"{title}"}},"webhookTimestamp":17}}"#)
}

/// Posts what is kept and what is refused, each way there is; returns the answers.
fn deliver(service: &Serving) -> String {
    let (good, torn) = (body(BODY), format!(r#"{{"type":"{BODY}"#));
    let (twice, long) = (format!(r#"{{"type":"{BODY}","type":"x"}}"#), body(&BODY.repeat(400)));
    let other = sign("a secret of somebody else", &good);
    let mut answers = String::new();
    for (id, signature, body) in [
        ("kept", sign(SIGNING, &good).as_str(), &good),
        ("again", &sign(SIGNING, &good), &good),
        ("unproven", &other, &good),
        ("malformed", SIGNING, &good),
        ("torn", &sign(SIGNING, &torn), &torn),
        ("twice", &sign(SIGNING, &twice), &twice),
        ("long", &sign(SIGNING, &long), &long),
    ] {
        let answer = service.post(id, signature, body);
        let status = answer.split(' ').nth(1).unwrap_or("none");
        writeln!(answers, "{id}: {status}\n{answer}").unwrap();
    }
    for (id, status) in [("kept", 200), ("again", 200), ("unproven", 401), ("malformed", 401), ("torn", 400)] {
        assert!(answers.contains(&format!("{id}: {status}\n")), "{answers}");
    }
    answers
}

/// What the control socket says to whatever is asked, sense or nonsense.
fn asked(data: &Path) -> String {
    let mut stream = UnixStream::connect(data.join("control.sock")).unwrap();
    let requests =
        ["{\"operation\":\"stats\"}", "{\"operation\":\"health\"}", "{\"operation\":\"pauses\"}", "not a request"];
    for request in requests {
        stream.write_all(format!("{request}\n").as_bytes()).unwrap();
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.contains("invalid_input") && said.lines().count() >= 7, "{said}");
    said
}

#[test]
fn no_secret_shows_itself_in_anything_that_a_service_says_or_writes() {
    let temporary = tempfile::tempdir().unwrap();
    let (directory, ledgerline) = (temporary.path(), env!("CARGO_BIN_EXE_ledgerline"));
    std::fs::write(directory.join("linear-secret"), format!("{SIGNING}\n")).unwrap();
    let by_file = |command: &mut Command| {
        command.args(["--secret-file", "linear-secret"]);
    };
    let by_variable = |command: &mut Command| {
        command.env("LINEAR_WEBHOOK_SECRET", SIGNING);
    };
    for (name, given) in [("by-file", &by_file as &dyn Fn(&mut Command)), ("by-variable", &by_variable)] {
        let service = Serving::start(directory, |command| given(command.env("LEDGERLINE_DATA", name)));
        let (data, nowhere) = (directory.join(name), [SIGNING, CREDENTIAL]);
        let everything = [SIGNING, CREDENTIAL, BODY];
        let signature = sign(SIGNING, &body(BODY));
        silent("an answer", deliver(&service), &everything);
        silent("the control socket", asked(&data), &everything);
        for arguments in [&["stats"][..], &["stats", "--json"], &["health"], &["pauses"], &["show", "nothing"]] {
            silent("a command", run(ledgerline, directory, &[arguments, &["--data", name]].concat()), &everything);
        }
        let shown = run(ledgerline, directory, &["show", "kept", "--json", "--data", name]);
        assert!(shown.contains(BODY), "whoever asks for the event is shown its data: {shown}");
        silent("an event", &shown, &nowhere);
        let (said, printed) = service.end();
        assert!(said.contains("kept") && said.contains("refused"), "it logs what it does: {said}");
        silent("the log", &said, &everything);
        silent("the log", &said, &[&signature]);
        assert!(printed.contains(BODY), "events are printed with their data: {printed}");
        silent("what is printed", &printed, &nowhere);
        silent("verify", run(ledgerline, directory, &["verify", name]), &everything);
        silent("the dump", run(env!("CARGO_BIN_EXE_ledgerline-dump"), directory, &[name]), &nowhere);
        let files = files(&data);
        assert!(files.iter().any(|(_, bytes)| holds(bytes, BODY)), "a body is kept");
        for (path, bytes) in files {
            silent(&path.display().to_string(), bytes, &[SIGNING, CREDENTIAL, &signature]);
        }
    }
}

#[test]
fn what_holds_a_secret_or_a_body_does_not_show_it_to_a_debugger() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("linear-secret");
    std::fs::write(&file, SIGNING).unwrap();
    let sample = temporary.path().join("sample");
    std::fs::write(&sample, body(BODY)).unwrap();
    let given = || Given::new().environment([("LINEAR_WEBHOOK_SECRET".into(), SIGNING.into())]);
    let config = given().secret_file(&file).resolve().unwrap();
    let signing = SigningSecret::for_sending(&config).unwrap();
    let delivery = Delivery {
        headers: vec![("Authorization".to_owned(), CREDENTIAL.to_owned())],
        body: body(BODY).into_bytes(),
        received_at: Timestamp::default(),
    };
    let event = || NewEvent::from_json("Issue", body(BODY)).unwrap().header("Authorization", CREDENTIAL).id("id");
    let store = Store::in_memory(StoreOptions::default()).unwrap();
    store.append(event()).unwrap();
    let claim = store.claim(1).unwrap().remove(0);
    let conflict = store.append(NewEvent::from_json("Issue", "1").unwrap().id("id")).unwrap_err();
    let emit = Operation::Emit {
        event_type: "Issue".to_owned(),
        data: body(BODY),
        id: None,
        key: None,
        not_before: None,
        priority: 0,
    };
    for (name, told) in [
        ("Given", format!("{:?}", given())),
        ("Config of a variable", format!("{:?}", given().resolve().unwrap())),
        ("Config", format!("{config:?}")),
        ("SigningSecret", format!("{signing:?} {:?} {}", signing.source(), signing.source())),
        ("Secret", format!("{:?}", Secret::new(SIGNING.as_bytes()).unwrap())),
        ("SecretRefused", format!("{:?}", Secret::new(b"canary-body").unwrap_err())),
        ("Sample", format!("{:?}", Sample::read(&sample).unwrap())),
        ("Delivery", format!("{delivery:?}")),
        ("NewEvent", format!("{:?}", event())),
        ("Event", format!("{:?}", store.get("id").unwrap().unwrap())),
        ("Claim", format!("{claim:?}")),
        ("Operation", format!("{emit:?}")),
        ("Store", format!("{store:?} {:?}", store.stats())),
        ("Error", format!("{conflict:?} {conflict}")),
    ] {
        silent(name, told, &[SIGNING, CREDENTIAL, BODY]);
    }
}
