//! `evenkeel watch`: runs the daemon, which keeps this host on the spec.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_control::Mode;
use evenkeel_engine::{HostKernel, Kernel, ReadRequest};
use evenkeel_model::Live;
use evenkeel_source::{FileSource, OpenSource};
use evenkeel_watch::{Detail, Options, TrafficOptions};

use crate::args::{GlobalArgs, TrafficDetail, WatchArgs};
use crate::daemon_client::absolute;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::{namespace, state_dir};
use crate::output::Output;
use crate::parameters::host_parameters;

/// The default full interval, in intervals: until then the cheap probe is enough.
const INTERVALS: u32 = 10;

pub(crate) fn run(
    arguments: &WatchArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let WatchArgs { spec, interval, full_interval, listen, observe, traffic, traffic_limit } =
        arguments;
    if spec.spec.iter().any(|place| place == Path::new("-")) {
        return Err(Error::Usage(
            "`watch` follows files, and stdin cannot be read again".to_owned(),
        ));
    }
    // The daemon stays in the namespace that is entered below, whatever its name refers to later.
    let parameters = host_parameters(&spec.parameters, None)?;
    // The endpoint serves the host's monitoring, so it is bound before the network namespace is
    // entered.
    let listener = listener(listen)?;
    let state = state_dir(global)?;
    // Fails now if the kernel has no IPVS or access to it is not permitted, since that is unlikely
    // to change later.
    HostKernel::connect(BTreeSet::new())?
        .read_namespace(&ReadRequest::new(), &mut Live::default())?;
    let interval = Duration::from_secs(u64::from(*interval));
    let options = Options {
        version: env!("CARGO_PKG_VERSION"),
        interval,
        full_interval: full_interval
            .map_or(interval * INTERVALS, |seconds| Duration::from_secs(u64::from(seconds))),
        mode: if *observe { Mode::Observe } else { Mode::Enforce },
        namespace: namespace()?.label(),
        netns: global.netns.clone(),
        state,
        sources: absolute(&spec.spec),
        traffic: TrafficOptions {
            detail: match traffic {
                TrafficDetail::Off => Detail::Off,
                TrafficDetail::Services => Detail::Services,
                TrafficDetail::RealServers => Detail::RealServers,
            },
            limit: *traffic_limit,
        },
    };
    let places: Vec<PathBuf> = options.sources.iter().map(PathBuf::from).collect();
    let source: OpenSource =
        Box::new(move |on_change| Box::new(FileSource::new(places, on_change)));
    output.flush()?;
    evenkeel_watch::run(options, source, parameters, listener)?;
    Ok(CommandExit::Done)
}

fn listener(address: &str) -> Result<Option<TcpListener>, Error> {
    if address == "none" {
        return Ok(None);
    }
    let fail = |source| Error::Listen { address: address.to_owned(), source };
    TcpListener::bind(address).map(Some).map_err(fail)
}
