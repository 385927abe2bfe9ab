//! A supervisor as a program of its own, for tests. evenkeel starts itself instead.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel_health::supervisor::run()
}
