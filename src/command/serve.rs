//! `serve`: the receiver and its workers, until a signal.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use ledgerline::service::{Config, Ended, Given, Service, Setting, printable};
use rustix::fs::{FileType, Mode, OFlags, fcntl_getfl, fstat, open, stat};
use rustix::io::{Errno, pread, write};
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::TROUBLE;
use super::log::Log;
use super::store::resolve;
use super::trouble::Trouble;

/// How long a write to stdout may still block once everything else has ended.
const STDOUT_GRACE: Duration = Duration::from_secs(1);

/// How long the log may still take to be written then.
const STDERR_GRACE: Duration = Duration::from_secs(1);

/// Signals that follow the first one this soon are the same one: a shell and a supervisor may both tell a whole process group.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Receive webhooks, keep them, and print each event as one line of JSON to stdout
#[derive(Args)]
#[command(after_help = SETTINGS)]
pub(super) struct Serve {
    /// The configuration file: TOML, with the keys named below; relative paths in it start from its directory [environment:
    /// LEDGERLINE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

const SETTINGS: &str = "Flags win over the environment, the environment over the file, the file over the defaults. \
    LINEAR_EVENT_PERSISTENCE_ENABLED=false keeps events in memory: nothing survives the end of the process. \
    LINEAR_BATCH_PROCESSING_ENABLED=false claims events one by one, LINEAR_BACKGROUND_PROCESSING=false has them wait for \
    `ledgerline process`.
Served: POST /webhooks/linear, and GET /livez, /readyz, /healthz. Ends on SIGINT, SIGTERM or SIGHUP (unless that is ignored), at once \
    (exit 130) if asked again a second later, or (exit 2) once nobody reads stdout any more. Where stdout is /dev/null, or was closed \
    from the start, what is printed is discarded, and events count as done all the same.";

/// The settings that were given as flags; which ones there are is the library's table.
struct Settings {
    given: Vec<(&'static Setting, OsString)>,
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        Setting::all().iter().fold(command, |command, setting| {
            let action = if setting.is_repeatable() { ArgAction::Append } else { ArgAction::Set };
            command.arg(
                Arg::new(setting.flag())
                    .long(setting.flag())
                    .value_name(setting.placeholder())
                    .value_parser(value_parser!(OsString))
                    .action(action)
                    .help(setting.help()),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for setting in Setting::all() {
            let values = matches.get_many::<OsString>(setting.flag()).into_iter().flatten();
            given.extend(values.map(|value| (*setting, value.clone())));
        }
        Ok(Self { given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Serve {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        let discards = check_stdout()?;
        let flags = self.settings.given.into_iter();
        let given = flags.fold(Given::new(), |given, (setting, value)| given.flag(setting, value));
        let config = resolve(None, self.config.as_ref(), given)?;
        let log = Log::begin(&config)?;
        if discards {
            tracing::warn!(
                "what is printed is discarded, because stdout is /dev/null or was closed: events count as done all the same"
            );
        }
        for name in config.unknown_variables() {
            tracing::warn!("{} in the environment is no setting, and is passed over", printable(name));
        }
        if let Some(file) = config.former_events() {
            let data = printable(&config.data().to_string_lossy());
            tracing::warn!(
                "{file} in the working directory holds events of the former program, and is passed over: `ledgerline import {file} \
                 --data {data}` keeps them; then move the file away"
            );
        }
        for place in config.unused_secrets() {
            tracing::warn!(
                "{} gives a signing secret that is not used, because another place that gives some wins over it",
                printable(place)
            );
        }
        end_fragment();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let ended = runtime.block_on(serve(config, &log));
        // A reader that has stopped reading blocks a thread that writes to it, and no more than that.
        runtime.shutdown_timeout(STDOUT_GRACE);
        let trouble = match ended {
            Ok(Ended::OutputClosed) => {
                Some(Trouble::new("stdout was closed: the service has ended; events that were not printed are kept"))
            }
            Ok(_) => None,
            Err(trouble) => Some(trouble),
        };
        // Behind what was logged, and waiting no longer for stderr than that.
        let code = trouble.map_or(0, |trouble| {
            log.tell(trouble.told(false));
            TROUBLE
        });
        log.settle(STDERR_GRACE);
        Ok(ExitCode::from(code))
    }
}

async fn serve(config: Config, log: &Log) -> Result<Ended, Trouble> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
    let mut asked = async move || {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hung_up => {}
        }
    };
    let service = tokio::select! {
        started = Service::start(config, Box::new(Unbuffered { is_terminal: io::stdout().is_terminal() })) => started?,
        // Recovery may take its time; ending amid it is as safe as a crash.
        () = asked() => return Ok(Ended::Asked),
    };
    let program = std::env::args_os().next().unwrap_or_else(|| "ledgerline".into());
    let banner = service.banner(&program.to_string_lossy());
    log.tell(banner);
    let (ask, was_asked) = tokio::sync::oneshot::channel();
    let last = log.clone();
    let signals = tokio::spawn(async move {
        asked().await;
        let _ = ask.send(());
        let echoes = async {
            loop {
                asked().await;
            }
        };
        let _ = tokio::time::timeout(SAME_SIGNAL, echoes).await;
        asked().await;
        tracing::warn!("asked twice: ending at once, as in a crash");
        last.settle(STDERR_GRACE / 10);
        std::process::exit(130);
    });
    let ended = service
        .run(async {
            let _ = was_asked.await;
        })
        .await;
    signals.abort();
    Ok(ended?)
}

/// Stdout without the language's buffer: that keeps what could not be written, and puts it before whatever comes next.
struct Unbuffered {
    is_terminal: bool,
}

impl Write for Unbuffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match write(io::stdout(), bytes) {
            // So a terminal says that it has gone.
            Err(Errno::IO) if self.is_terminal => Err(io::ErrorKind::BrokenPipe.into()),
            written => Ok(written?),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether whoever started this has seen to it that it outlives its terminal, as `nohup` does; also where the system does not tell.
fn ignores_hangup() -> bool {
    let file = open("/proc/self/status", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    // A user may be in so many groups that what is looked for stands far behind.
    while let Ok(read @ 1..) = file.as_ref().map_or(Ok(0), |file| pread(file, &mut part, text.len() as u64)) {
        text.extend_from_slice(part.get(..read).unwrap_or_default());
    }
    let text = String::from_utf8_lossy(&text);
    let ignored = text.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_none_or(|mask| mask & 1 == 1)
}

/// Refuses a stdout that takes nothing, before anything is processed whose line would be lost. Returns whether it discards what it takes:
/// supervisors open `/dev/null` both ways, and so does the language's runtime where stdout was closed, so that the two cannot be told
/// apart.
fn check_stdout() -> Result<bool, Trouble> {
    let stdout = io::stdout();
    let flags = fcntl_getfl(&stdout).map_err(io::Error::from)?;
    if flags & OFlags::RWMODE == OFlags::RDONLY {
        return Err(Trouble::new("stdout is open for reading only: nothing was started, events are kept"));
    }
    let (Ok(stdout), Ok(null)) = (fstat(&stdout), stat("/dev/null")) else { return Ok(false) };
    let is_device = FileType::from_raw_mode(stdout.st_mode) == FileType::CharacterDevice;
    Ok(is_device && stdout.st_rdev == null.st_rdev)
}

/// Ends the line in which a crash has left the file that is appended to, so that the first event does not become part of it. What cannot be
/// read is left as it is.
fn end_fragment() {
    let mut stdout = io::stdout();
    let is_appended_to = fcntl_getfl(&stdout).is_ok_and(|flags| flags.contains(OFlags::APPEND));
    let end = fstat(&stdout).ok().and_then(|stat| u64::try_from(stat.st_size).ok()).unwrap_or(0);
    let mut last = [b'\n'];
    if is_appended_to && end > 0 {
        // It may be open for writing only.
        let file = open("/dev/fd/1", OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty());
        let _ = file.and_then(|file| pread(file, &mut last, end - 1));
    }
    if last != [b'\n'] {
        let _ = stdout.write_all(b"\n");
    }
}
