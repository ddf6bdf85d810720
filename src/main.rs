//! The command `ledgerline`.

mod command;

fn main() -> std::process::ExitCode {
    command::run()
}
