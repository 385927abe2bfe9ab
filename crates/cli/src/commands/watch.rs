//! `evenkeel watch`: runs the daemon, which keeps this host on the spec.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_control::Mode;
use evenkeel_engine::{HostKernel, IpvsUse, Journalled, Kernel, ReadRequest};
use evenkeel_model::{Live, OwnerName};
use evenkeel_source::{FileSource, HostParameters, OpenSource, read};
use evenkeel_spec::{Parameters as _, load_with, named_owner};
use evenkeel_watch::{Detail, Listener, Options, TrafficOptions};

use crate::args::{GlobalArgs, TrafficDetail, WatchArgs};
use crate::check_environment::check_environment;
use crate::daemon_client::absolute;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::{ipvs_use, namespace, state_dir, this_host};
use crate::output::Output;
use crate::parameters::host_parameters;

/// The default full interval, in intervals: until then the cheap probe is enough.
const INTERVALS: u32 = 10;

pub(crate) fn run(
    arguments: &WatchArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    evenkeel_watch::reserve()?;
    let WatchArgs {
        spec,
        interval,
        full_interval,
        listen,
        allow_host,
        observe,
        traffic,
        traffic_limit,
    } = arguments;
    if spec.spec.iter().any(|place| place == Path::new("-")) {
        return Err(Error::Usage(
            "`watch` follows files, and stdin cannot be read again".to_owned(),
        ));
    }
    let global = &GlobalArgs { owner: Some(owner(&spec.spec, global)), ..global.clone() };
    // The daemon stays in the namespace that is entered below, whatever its name refers to later.
    let parameters = host_parameters(&spec.parameters, None, this_host(global)?)?;
    let parameters = parameters.keeping_macs().of_owner(global.owner.clone());
    // The endpoint serves the host's monitoring, so it is bound before the network namespace is
    // entered.
    let listener = listener(listen)?;
    let state = state_dir(global)?;
    let ipvs_use = needed_ipvs(&spec.spec, &parameters);
    // Fails now if the kernel has no IPVS or access to it is not permitted, since that is unlikely
    // to change later.
    HostKernel::connect_for(ipvs_use, Journalled::default())?
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
        ipvs_use,
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
        allowed_hosts: allow_host.clone(),
        checks: check_environment(),
    };
    let places: Vec<PathBuf> = options.sources.iter().map(PathBuf::from).collect();
    let source: OpenSource =
        Box::new(move |on_change| Box::new(FileSource::new(places, on_change)));
    output.flush()?;
    evenkeel_watch::run(options, source, parameters, listener)?;
    Ok(CommandExit::Done)
}

/// The owner that the daemon acts for as long as it runs: the one that `--owner` or the spec names. A spec that
/// cannot be read yet counts as one without an owner.
fn owner(places: &[PathBuf], global: &GlobalArgs) -> OwnerName {
    let named = || named_owner(&read(places).ok()?.read().ok()?);
    global.owner.clone().or_else(named).unwrap_or_default()
}

/// Whether the host needs IPVS in its kernel. A spec that cannot be loaded yet counts as a director's,
/// unless the host was a real server or a gateway.
fn needed_ipvs(places: &[PathBuf], parameters: &HostParameters) -> IpvsUse {
    let texts = read(places).and_then(|texts| texts.read().map(Cow::into_owned));
    match texts.map(|texts| load_with(&texts, parameters)) {
        Ok(Ok(loaded)) => ipvs_use(&loaded.desired.roles),
        _ if parameters.may_be_no_director() => IpvsUse::IfPresent,
        _ => IpvsUse::Required,
    }
}

fn listener(address: &str) -> Result<Option<Listener>, Error> {
    if address == "none" {
        return Ok(None);
    }
    let fail = |source| Error::Listen { address: address.to_owned(), source };
    Listener::bind(address).map(Some).map_err(fail)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use evenkeel_plan::DEFAULT_INTERVAL;

    use crate::args::{Arguments, Command};

    #[test]
    fn without_a_daemon_the_interval_is_the_daemons_default() {
        let parsed = Arguments::try_parse_from(["evenkeel", "watch"]).expect("it is valid");
        let Command::Watch(arguments) = parsed.command else { panic!("another command") };
        assert_eq!(u64::from(arguments.interval), DEFAULT_INTERVAL.as_secs());
    }
}
