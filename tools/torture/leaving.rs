//! Nothing is left behind, however the run ends: no process that was to be attacked, no mount, no folder.

use std::process::{Command, exit};

use tokio::signal::unix::{SignalKind, signal};

use super::scratch;

/// How shells tell of a program that a signal ended.
const INTERRUPTED: i32 = 128 + 2;
const TERMINATED: i32 = 128 + 15;

/// From now on, whoever interrupts or terminates the run has it clean up first.
pub(crate) fn prepare() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let kinds = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
            let (Ok(mut interrupt), Ok(mut terminate)) = kinds else { return };
            let status = tokio::select! {
                _ = interrupt.recv() => INTERRUPTED,
                _ = terminate.recv() => TERMINATED,
            };
            clean_up();
            exit(status);
        });
    });
}

/// Ends the processes that this one has begun, and removes its folders. A kind that hangs may still have some.
pub(crate) fn clean_up() {
    let children = children();
    if !children.is_empty() {
        drop(Command::new("sh").args(["-c", "kill -KILL \"$@\"", "sh"]).args(children).status());
    }
    scratch::sweep_own();
}

/// Numbers of the processes whose parent this one is.
fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let is_child = |number: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything: a letter for its state, then its parent.
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(own.as_str())
    };
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(is_child).collect()
}
