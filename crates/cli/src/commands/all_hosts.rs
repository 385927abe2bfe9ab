//! `evenkeel plan --all-hosts`: what a spec makes of every host of the cluster, for review. It needs no
//! host: each plan is one for an empty host with the addresses that the spec lists.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{Cluster, Desired, HostInputs, Live, Names};
use evenkeel_plan::render::{self, Labels, Line};
use evenkeel_plan::{Plan, Warning};
use evenkeel_source::{HostRequest, SourceCache};
use evenkeel_spec::Loaded;
use evenkeel_workflow::PlannedHost;
use serde_json::json;

use crate::args::{GlobalArgs, PlanArgs, PlanOutput};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::output::Output;

/// A host of the cluster.
struct ListedHost {
    /// `director lb1`, `real server` or `gateway r1`.
    title: String,
    name: Option<Box<str>>,
    addresses: BTreeSet<IpAddr>,
    desired: Desired,
    plan: Plan,
}

pub(crate) fn run(
    arguments: &PlanArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let spec = &arguments.spec;
    let any = HostRequest::AnyHost;
    let (loaded, texts) =
        crate::input::spec_and_texts(&spec.spec, &spec.parameters, any, global, output)?;
    let Some(cluster) = loaded.cluster() else {
        let message = "the spec lists no `directors`, so that its hosts are not known";
        return Err(Error::Usage(message.to_owned()));
    };
    let hosts = hosts(cluster, &loaded, &texts)?;
    match arguments.output {
        PlanOutput::Text => output.answer(text(&hosts))?,
        PlanOutput::Json => {
            let hosts = hosts.iter().map(|host| {
                let plan = render::json(&host.plan, &host.desired);
                json!({ "name": host.name, "addresses": host.addresses, "plan": plan })
            });
            let hosts: Vec<_> = hosts.collect();
            output.answer(format_args!(
                "{:#}\n",
                json!({ "format": render::FORMAT, "hosts": hosts })
            ))?;
        }
        PlanOutput::Diff => {
            let message = "--all-hosts writes text or JSON: there is no state to differ from";
            return Err(Error::Usage(message.to_owned()));
        }
    }
    Ok(CommandExit::Done)
}

/// Plans for every host: the directors, each real server that is none of them, and the gateways.
fn hosts(
    cluster: &Cluster,
    loaded: &Loaded,
    texts: &SourceCache,
) -> Result<Vec<ListedHost>, Error> {
    let directors = cluster.directors.iter();
    let directors = directors.map(|it| (Some(it.name.clone()), it.addresses.clone()));
    let is_director =
        |address: &IpAddr| cluster.directors.iter().any(|it| it.addresses.contains(address));
    let real_servers = cluster.real_servers.iter().filter(|address| !is_director(address));
    let real_servers = real_servers.map(|address| (None, [*address].into()));
    let gateways = cluster.gateways.iter();
    let gateways = gateways.map(|it| (Some(it.name.clone()), it.addresses.clone()));
    let mut hosts = Vec::new();
    for (name, addresses) in directors.chain(real_servers).chain(gateways) {
        let addresses: BTreeSet<IpAddr> = addresses;
        let inputs = HostInputs::of_addresses(addresses.clone());
        // Every listed host has a role.
        let Ok(desired) = loaded.for_host(&inputs) else { continue };
        let planned = PlannedHost::for_snapshot((Live::default(), None), desired, texts, &[])?;
        let PlannedHost { mut plan, desired, .. } = planned;
        plan.warnings.retain(|warning| !matches!(warning, Warning::GuardsNotJudged(_)));
        hosts.push(ListedHost { title: desired.roles.to_string(), name, addresses, desired, plan });
    }
    Ok(hosts)
}

/// The title of a host that is only a real server ([`evenkeel_model::HostRoles`]).
const REAL_SERVER: &str = "real server";

/// Writes the plans one after the other; real servers with the same plan are written once.
fn text(hosts: &[ListedHost]) -> String {
    let mut groups: Vec<(&str, String, Vec<String>)> = Vec::new();
    for host in hosts {
        let addresses: Vec<String> = host.addresses.iter().map(IpAddr::to_string).collect();
        let body = body(host);
        let same = groups
            .iter_mut()
            .find(|(title, text, _)| host.name.is_none() && *title == host.title && *text == body);
        match same {
            Some((_, _, others)) => others.extend(addresses),
            None => groups.push((&host.title, body, addresses)),
        }
    }
    // A real server is listed by one of its addresses, another host by all of them.
    let group = |(title, body, addresses): (&str, String, Vec<String>)| {
        let list = addresses.join(", ");
        match (title, addresses.len()) {
            (REAL_SERVER, 1) => format!("{title} {list}\n{body}"),
            (REAL_SERVER, several) => format!("{several} {title}s: {list}\n{body}"),
            _ => format!("{title} ({list})\n{body}"),
        }
    };
    groups.into_iter().map(group).collect::<Vec<_>>().join("\n")
}

fn body(host: &ListedHost) -> String {
    let labels = Labels::new(Names::from(&host.desired));
    let mut text = String::new();
    for op in &host.plan.steps {
        text.push_str(&format!("  {}\n", Line { op, labels: &labels }));
    }
    for warning in &host.plan.warnings {
        text.push_str(&format!("  warning: {warning}\n"));
    }
    if host.plan.steps.is_empty() {
        text.push_str("  nothing to do\n");
    }
    text
}
