//! The floor: a program that does nothing but bind addresses again (`floor/rebind.c`), which `cargo xtask` compiles.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};

/// The running program, which is killed when dropped.
pub(super) struct Floor(Child);

impl Floor {
    /// Starts it, and waits until it has bound these addresses to that link.
    pub(super) fn start(link: &str, addresses: &[IpAddr]) -> Self {
        let program =
            std::env::var_os("EVENKEEL_FLOOR").expect("`cargo xtask` sets EVENKEEL_FLOOR");
        let mut command = Command::new(program);
        command.arg(link).args(addresses.iter().map(IpAddr::to_string));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    /// Returns how it ended, if it did.
    pub(super) fn has_ended(&mut self) -> Option<String> {
        self.0.try_wait().unwrap().map(|status| status.to_string())
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}
