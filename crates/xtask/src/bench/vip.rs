//! Measures how long a VIP is missing after it is unbound, while `evenkeel watch` manages a large
//! table.

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

/// How often the VIP is unbound.
const TAKINGS: usize = 20;

/// The longest time that a repair may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the daemon on that spec plus a VIP, and prints how long the VIP is missing when it is
/// unbound.
pub(super) fn measure(evenkeel: &Path, spec: &str) -> Result<(), Error> {
    let text = format!("{spec}vips:\n- {{ address: {VIP}, interface: lo }}\n");
    super::write(WITH_VIP, &text)?;
    let namespace = Namespace::create("vip")?;
    let arguments = ["apply", "--yes", "--state-dir", STATE, WITH_VIP];
    namespace.output(&evenkeel.to_string_lossy(), &arguments)?;
    let mut away = namespace.run(|| -> Result<Vec<Duration>, Error> {
        let _daemon = Daemon::start(evenkeel, &[WITH_VIP, "--state-dir", STATE])?;
        // The daemon is known to be ready once it has repaired the VIP.
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

/// Unbinds the VIP and returns how long it was missing.
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
