//! Loading and reading one large table: by ipvsadm, by the evenkeel program, and by evenkeel's
//! netlink client alone, which is the floor under the program.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel_ipvs::{
    Client, Command as Change, Destination, DestinationKey, Name, Service, ServiceKey, forward,
    protocol,
};
use evenkeel_lab::net::Namespace;

use crate::error::Error;

const SPEC: &str = "/tmp/bench.yaml";
const RULES: &str = "/tmp/bench.rules";
const PORT: u16 = 80;

/// The table to be loaded, in every form it is loaded from.
pub(crate) struct Table {
    pub(crate) services: usize,
    pub(crate) real_servers: usize,
}

impl Table {
    fn vip(number: usize) -> IpAddr {
        address(10, number)
    }

    fn real_server(number: usize, of: usize) -> IpAddr {
        address(20, of % 250 * 250 + number)
    }

    /// What `ipvsadm -R` reads.
    fn rules(&self) -> String {
        let mut text = String::new();
        for service in 0..self.services {
            let vip = Self::vip(service);
            text.push_str(&format!("-A -t {vip}:{PORT} -s wrr\n"));
            for number in 0..self.real_servers {
                let real_server = Self::real_server(number, service);
                text.push_str(&format!("-a -t {vip}:{PORT} -r {real_server}:{PORT} -g -w 1\n"));
            }
        }
        text
    }

    /// What evenkeel reads: every service with its own list, every real server with its weight,
    /// nothing shared; lists as YAML emitters indent them.
    pub(crate) fn spec(&self) -> String {
        let mut text = "version: 1\nscope: all\nservices:\n".to_owned();
        for service in 0..self.services {
            let vip = Self::vip(service);
            text.push_str(&format!(
                "- name: s{service}\n  vip: {vip}\n  port: {PORT}\n  scheduler: wrr\n  \
                 real_servers:\n"
            ));
            for number in 0..self.real_servers {
                let real_server = Self::real_server(number, service);
                text.push_str(&format!("  - {{ address: {real_server}, weight: 1 }}\n"));
            }
        }
        text
    }

    fn changes(&self) -> Result<Vec<Change>, Error> {
        let wrr = Name::new("wrr").map_err(|error| Error::Claim(error.to_string()))?;
        let mut changes = Vec::new();
        for service in 0..self.services {
            let address = Self::vip(service);
            let key = ServiceKey::Address { address, port: PORT, protocol: protocol::TCP };
            changes.push(Change::NewService(Service::new(key, wrr)));
            changes.extend((0..self.real_servers).map(|number| {
                let address = Self::real_server(number, service);
                let real_server = DestinationKey { address, port: PORT };
                Change::NewDestination(key, Destination::new(real_server, forward::DROUTE))
            }));
        }
        Ok(changes)
    }

    fn lines(&self) -> usize {
        self.services * (1 + self.real_servers)
    }
}

fn address(first: u8, number: usize) -> IpAddr {
    let byte = |value: usize| u8::try_from(value % 256).unwrap_or_default();
    [first, byte(number / 62_500 + 1), byte(number / 250 % 250), byte(number % 250 + 1)].into()
}

/// Measures every way `runs` times and prints medians and ratios.
pub(super) fn measure(
    evenkeel: &Path,
    services: usize,
    real_servers: usize,
    runs: usize,
) -> Result<(), Error> {
    let table = Table { services, real_servers };
    write(SPEC, &table.spec())?;
    write(RULES, &table.rules())?;
    let changes = table.changes()?;
    println!(
        "{services} services x {real_servers} real servers, wrr; whole processes; medians of {runs}\n"
    );
    let mut load = [Vec::new(), Vec::new(), Vec::new()];
    let mut read = [Vec::new(), Vec::new(), Vec::new()];
    for run in 0..runs {
        // A namespace for each load: deleted real servers slow down the ones that come after.
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
    // To a file, as a person or a timer would: a pipe would measure its reader too.
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

/// The same by evenkeel's netlink client, without a spec, a plan or a process around it.
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

/// A fast way that loads half a table would be no way.
fn check(namespace: &Namespace, table: &Table) -> Result<(), Error> {
    let found = namespace.output("ipvsadm", &["-Sn"])?.lines().count();
    if found == table.lines() {
        return Ok(());
    }
    Err(Error::Claim(format!("the table has {found} lines, not {}", table.lines())))
}

pub(super) fn write(path: &str, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|error| Error::Claim(format!("cannot write {path}: {error}")))
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
