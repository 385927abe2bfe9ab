//! How long a VIP is away when someone unbinds it, where `evenkeel watch` keeps a large table.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use evenkeel_lab::net::Namespace;

use super::daemon::Daemon;
use crate::error::Error;

const VIP: &str = "192.0.2.1";
const WITH_VIP: &str = "/tmp/bench.vip.yaml";
const STATE: &str = "/tmp/bench.vip.state";

/// How often it is taken away.
const TAKINGS: usize = 20;

/// What a daemon that repairs it takes at the very most.
const PATIENCE: Duration = Duration::from_secs(10);

/// Has a host kept on the spec of that text and a VIP besides, and prints how long that is away.
pub(super) fn measure(evenkeel: &Path, spec: &str) -> Result<(), Error> {
    let text = format!("{spec}vips:\n- {{ address: {VIP}, interface: lo }}\n");
    super::write(WITH_VIP, &text)?;
    let namespace = Namespace::create("vip")?;
    let arguments = ["apply", "--yes", "--state-dir", STATE, WITH_VIP];
    namespace.output(&evenkeel.to_string_lossy(), &arguments)?;
    let mut away = namespace.run(|| -> Result<Vec<Duration>, Error> {
        let _daemon = Daemon::start(evenkeel, &[WITH_VIP, "--state-dir", STATE])?;
        // It is known to be there once it has brought the VIP back.
        taken_away()?;
        (0..TAKINGS).map(|_| taken_away()).collect()
    })??;
    away.sort_unstable();
    let at = |place: usize| away.get(place).copied().unwrap_or_default().as_secs_f64() * 1000.0;
    let (median, worst) = (at(TAKINGS / 2), at(TAKINGS - 1));
    println!(
        "watch, a VIP is back       {median:>9.1} ms median {worst:>9.1} ms worst of {TAKINGS}\n"
    );
    Ok(())
}

/// Unbinds the VIP, and waits until it is back: how long that took.
fn taken_away() -> Result<Duration, Error> {
    sleep(Duration::from_millis(500));
    let unbind = ["address", "delete", &format!("{VIP}/32"), "dev", "lo"];
    let taker = Command::new("ip").args(unbind).stdin(Stdio::null()).spawn();
    let mut taker = taker.map_err(|error| Error::Start("ip".to_owned(), error))?;
    let begin = Instant::now();
    let wait_until = |is_here: bool| {
        while (UdpSocket::bind((VIP, 0)).is_ok() != is_here) && begin.elapsed() < PATIENCE {
            sleep(Duration::from_micros(500));
        }
    };
    wait_until(false);
    let gone = Instant::now();
    wait_until(true);
    let away = gone.elapsed();
    taker.wait().map_err(|error| Error::Start("ip".to_owned(), error))?;
    if begin.elapsed() >= PATIENCE {
        return Err(Error::Claim(format!("{VIP} was not away, or did not come back")));
    }
    Ok(away)
}
