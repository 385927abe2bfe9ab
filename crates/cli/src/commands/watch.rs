//! `evenkeel watch`: runs the daemon, which keeps this host on the spec.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_control::Mode;
use evenkeel_engine::{HostKernel, Kernel, ReadRequest, StoredSpecTexts};
use evenkeel_model::{FileContents, Live};
use evenkeel_spec::Source;
use evenkeel_watch::{Detail, Options, SpecSource, SpecText, TrafficOptions};

use crate::args::{GlobalArgs, ParameterArgs, TrafficDetail, WatchArgs};
use crate::daemon_client::absolute;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::{namespace, state_dir};
use crate::output::Output;

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
    // An invalid `--set` is reported now, since reading the spec again cannot correct it.
    crate::parameters::HostParameters::new(&spec.parameters.set, global)?;
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
    let files = FileSource {
        places: places.clone(),
        parameters: ParameterArgs { set: spec.parameters.set.clone() },
        global: global.clone(),
    };
    output.flush()?;
    evenkeel_watch::run(options, Box::new(files), places, listener)?;
    Ok(CommandExit::Done)
}

fn listener(address: &str) -> Result<Option<TcpListener>, Error> {
    if address == "none" {
        return Ok(None);
    }
    let fail = |source| Error::Listen { address: address.to_owned(), source };
    TcpListener::bind(address).map(Some).map_err(fail)
}

/// The spec of the command line, which the daemon reads repeatedly.
struct FileSource {
    places: Vec<PathBuf>,
    parameters: ParameterArgs,
    global: GlobalArgs,
}

impl SpecSource for FileSource {
    fn read(&mut self) -> Result<SpecText, String> {
        let Self { places, parameters, global } = self;
        crate::input::text(places, parameters, global)
    }

    fn remembered(&mut self, last: StoredSpecTexts) -> Option<SpecText> {
        let desired = Arc::new(evenkeel_workflow::desired(last.clone())?);
        let StoredSpecTexts { texts, parameters } = last;
        Some(SpecText { desired, texts, parameters, warnings: String::new() })
    }

    fn contents(&self, spec: &SpecText) -> Vec<FileContents> {
        let texts = spec.texts.iter();
        let sources: Vec<Source> =
            texts.map(|(name, text)| Source::new(name.clone(), text.clone())).collect();
        evenkeel_workflow::contents(&sources, &spec.parameters)
    }
}
