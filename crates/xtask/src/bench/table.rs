//! Measures loading and reading one large table: by ipvsadm, by the evenkeel program, and by
//! evenkeel's netlink client alone, which is the lower bound for the program.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel_ipvs::{Client, Command as Change};
use evenkeel_lab::net::Namespace;

use super::write;
use crate::error::Error;
use crate::large_table::LargeTable;

const SPEC: &str = "/tmp/bench.yaml";
const RULES: &str = "/tmp/bench.rules";

/// Measures each program `runs` times and prints medians and ratios.
pub(super) fn measure(
    evenkeel: &Path,
    services: usize,
    real_servers: usize,
    runs: usize,
) -> Result<(), Error> {
    let table = LargeTable { services, real_servers };
    write(SPEC, &table.spec())?;
    write(RULES, &table.rules())?;
    let changes = table.changes()?;
    println!(
        "{services} services x {real_servers} real servers, wrr; whole processes; medians of {runs}\n"
    );
    let mut load = [Vec::new(), Vec::new(), Vec::new()];
    let mut read = [Vec::new(), Vec::new(), Vec::new()];
    for run in 0..runs {
        // A namespace for each load: deleted real servers slow down later loads.
        let namespace = Namespace::create(&format!("ipvsadm{run}"))?;
        load[0].push(program(&namespace, Path::new("ipvsadm"), &["-R"], Some(RULES))?);
        read[0].push(program(&namespace, Path::new("ipvsadm"), &["-Sn"], None)?);
        check(&namespace, &table)?;

        let namespace = Namespace::create(&format!("evenkeel{run}"))?;
        load[1].push(program(&namespace, evenkeel, &["apply", "--yes", SPEC], None)?);
        read[1].push(program(&namespace, evenkeel, &["plan", "--detailed-exitcode", SPEC], None)?);
        check(&namespace, &table)?;

        let namespace = Namespace::create(&format!("floor{run}"))?;
        let (loaded, was_read) = namespace.run(|| floor(&changes))??;
        load[2].push(loaded);
        read[2].push(was_read);
        check(&namespace, &table)?;
    }
    print(
        "load from an empty table",
        ["ipvsadm -R", "evenkeel apply --yes", "netlink alone"],
        load,
    );
    print("read, unchanged", ["ipvsadm -Sn", "evenkeel plan", "netlink alone"], read);
    super::idle::measure(evenkeel, SPEC)?;
    super::vip::measure(evenkeel, &table.spec())
}

/// The time from the start of a program to its end.
fn program(
    namespace: &Namespace,
    program: &Path,
    arguments: &[&str],
    input: Option<&str>,
) -> Result<Duration, Error> {
    let name = format!("{} {}", program.display(), arguments.join(" "));
    let start_error = |error| Error::Start(name.clone(), error);
    let stdin = match input {
        Some(path) => Stdio::from(File::open(path).map_err(start_error)?),
        None => Stdio::null(),
    };
    // To a file: a pipe would measure its reader too.
    let answer = File::create("/tmp/bench.out").map_err(start_error)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(stdin).stdout(answer);
    let (status, took) = namespace.run(|| {
        let start = Instant::now();
        (command.status(), start.elapsed())
    })?;
    match status {
        Ok(status) if status.success() => Ok(took),
        Ok(status) => Err(Error::Claim(format!("{name}: {status}"))),
        Err(error) => Err(Error::Start(name, error)),
    }
}

/// Loads and reads the table with evenkeel's netlink client alone, without a spec, a plan or a
/// process.
fn floor(changes: &[Change]) -> Result<(Duration, Duration), Error> {
    let failed = |error: &dyn std::error::Error| Error::Claim(error.to_string());
    let mut client = Client::connect().map_err(|error| failed(&error))?;
    let start = Instant::now();
    let refused = client.execute(changes.iter().copied()).map_err(|error| failed(&error))?;
    let loaded = start.elapsed();
    if let Some(refused) = refused.first() {
        return Err(failed(&refused.refusal));
    }
    let start = Instant::now();
    let mut services = Vec::new();
    let read = client.for_each_service(|reply| services.push(reply.service.key));
    read.map_err(|error| failed(&error))?;
    for service in services {
        let read = client.for_each_destination(&service, |reply| {
            std::hint::black_box(reply.destination);
        });
        read.map_err(|error| failed(&error))?;
    }
    Ok((loaded, start.elapsed()))
}

/// Checks that the whole table was loaded.
fn check(namespace: &Namespace, table: &LargeTable) -> Result<(), Error> {
    let found = namespace.output("ipvsadm", &["-Sn"])?.lines().count();
    if found == table.lines() {
        return Ok(());
    }
    Err(Error::Claim(format!("the table has {found} lines, not {}", table.lines())))
}

fn print(what: &str, ways: [&str; 3], times: [Vec<Duration>; 3]) {
    println!("{what}");
    let medians = times.map(median);
    for (kind, median) in ways.into_iter().zip(medians) {
        let ratio = medians[0].as_secs_f64() / median.as_secs_f64();
        println!("  {kind:<22} {:>9.1} ms  {ratio:>6.1}x", median.as_secs_f64() * 1000.0);
    }
    println!();
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
