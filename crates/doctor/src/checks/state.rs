//! What is not as the spec asks, and what may be the reason.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{HostObject, HostObjectKind, Live, ServiceConfig, ServiceKey, TunnelDriver};
use evenkeel_plan::Op;
use evenkeel_plan::render::{Labels, Line, count};

use crate::{Code, Facts, Finding, NotChecked, RouteLookup, Writer};

/// How many operations a finding names.
const NAMED: usize = 3;

pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) {
    findings.extend(differs(facts));
    not_bound(facts, findings);
    missing_modules(facts, findings);
    findings.extend(impossible(facts));
    findings.extend(facts.writers.iter().filter_map(|writer| other_writer(facts, *writer)));
}

fn differs(facts: &Facts) -> Option<Finding> {
    let labels = Labels::new(&facts.desired);
    let mut lines: Vec<String> =
        facts.steps.iter().take(NAMED).map(|op| Line { op, labels: &labels }.to_string()).collect();
    match facts.steps.len() {
        0 => return None,
        all if all > NAMED => lines.push(format!("and {} more", all - NAMED)),
        _ => {}
    }
    let steps = count(facts.steps.len(), "operation");
    let services = facts.steps.iter().filter_map(Op::service);
    let what = format!("{steps} would bring the host to the spec: {}", lines.join("; "));
    let remedy = "`evenkeel plan` shows them, `evenkeel apply` executes them".to_owned();
    Some(Finding::of(Code::Differs, services, what, remedy))
}

fn not_bound(facts: &Facts, findings: &mut Vec<Finding>) {
    for binding in facts.desired.vips.keys() {
        let is_bound = || facts.live.addresses.keys().any(|bound| bound.same_place(binding));
        if facts.released_vips.contains(binding) || is_bound() {
            continue;
        }
        let services = facts.services_of_vip(binding.address);
        let (vip, interface) = (binding.address, &binding.interface);
        let mut what = format!("VIP {vip} is not bound on {interface}");
        let remedy = if facts.links.contains_key(interface) {
            "`evenkeel apply` binds it"
        } else {
            what.push_str(", and there is no such interface");
            "create the interface; `evenkeel apply` then binds the VIP"
        };
        findings.push(Finding::of(Code::VipNotBound, services, what, remedy.to_owned()));
    }
    // With several directors, or a program that moves VIPs, another host may have them.
    let directors = facts.cluster.as_ref().map_or(0, |cluster| cluster.directors.len());
    if directors > 1 || facts.writers.iter().any(|it| it.moves_vips()) {
        return;
    }
    for vip in facts.desired.services.keys().filter_map(ServiceKey::vip) {
        let is_listed = facts.desired.vips.keys().any(|binding| binding.address == vip);
        let is_local = match facts.routes.get(&vip) {
            Some(lookup) => *lookup == RouteLookup::Local,
            None => true,
        };
        let services = facts.services_of_vip(vip);
        let is_reported = |it: &Finding| it.code == Code::VipNotBound && it.services == services;
        if is_listed || is_local || facts.is_bound(vip) || findings.iter().any(is_reported) {
            continue;
        }
        let what = format!("VIP {vip} is not an address of this host");
        let remedy = "list it under `vips`, or start the program that binds it".to_owned();
        findings.push(Finding::of(Code::VipNotBound, services, what, remedy.to_owned()));
    }
}

pub(super) fn not_checked(facts: &Facts, found: &mut Vec<NotChecked>) {
    if facts.modules.is_none() && !needed_modules(facts).is_empty() {
        let reason = "the list of installed kernel modules cannot be read".to_owned();
        found.push(NotChecked { codes: [Code::ModuleMissing].into(), reason });
    }
}

/// The modules that the spec needs, and that nothing shows to be loaded.
fn needed_modules(facts: &Facts) -> BTreeMap<String, Vec<ServiceKey>> {
    let mut needed: BTreeMap<String, Vec<ServiceKey>> = BTreeMap::new();
    for (key, named) in &facts.desired.services {
        // What a live service has, the kernel has.
        if is_live(&facts.live, key, &named.service.config) {
            continue;
        }
        let config = &named.service.config;
        let engine = config.engine.iter().map(|engine| format!("ip_vs_pe_{engine}"));
        // Without IPVS there are no timeouts.
        let ipvs = facts.live.timeouts.is_none().then(|| "ip_vs".to_owned());
        let scheduler = format!("ip_vs_{}", config.scheduler);
        for module in ipvs.into_iter().chain([scheduler]).chain(engine) {
            needed.entry(module).or_default().push(*key);
        }
    }
    for (key, part) in &facts.desired.real_server {
        let devices = part.host_objects.iter().filter_map(HostObject::device);
        for device in devices.filter(|device| !facts.links.contains_key(*device)) {
            if let Some(driver) = TunnelDriver::of_device(device) {
                needed.entry(module_of(driver).to_owned()).or_default().push(*key);
            }
        }
    }
    let ports = |it: &&HostObject| it.kind() == HostObjectKind::FouPort;
    for (key, part) in &facts.desired.real_server {
        let is_missing = |port: &HostObject| facts.live.host_objects.get(port).is_none();
        if part.host_objects.iter().filter(ports).any(is_missing) {
            needed.entry("fou".to_owned()).or_default().push(*key);
        }
    }
    needed
}

fn missing_modules(facts: &Facts, findings: &mut Vec<Finding>) {
    let Some(installed) = &facts.modules else { return };
    for (module, services) in needed_modules(facts) {
        if installed.contains(&*module.replace('-', "_")) {
            continue;
        }
        let what = format!("kernel module {module} is not installed for the running kernel");
        let remedy = "install it, often as a package of extra modules".to_owned();
        findings.push(Finding::of(Code::ModuleMissing, services, what, remedy));
    }
}

/// Kinds of objects that the spec asks for, and that are not possible on this host.
fn impossible(facts: &Facts) -> Vec<Finding> {
    let wanted = |kind: HostObjectKind| {
        facts.desired.host_objects.keys().filter(move |object| object.kind() == kind)
    };
    let unavailable = facts.live.host_objects.unavailable.iter();
    let unavailable = unavailable.filter(|(kind, _)| wanted(**kind).next().is_some());
    let finding = |kind: &HostObjectKind, why: &str| {
        let services: BTreeSet<ServiceKey> = wanted(*kind)
            .flat_map(|object| match (object.service(), object.address()) {
                (Some(service), _) => [*service].into(),
                (None, Some(address)) => facts.services_of_vip(address),
                (None, None) => BTreeSet::new(),
            })
            .collect();
        let what = format!("{} cannot be managed here: {why}", kind.name());
        let remedy = "do what the message says; or leave out `arp`, or use `forward: nat` with `gateway: director`".to_owned();
        Finding::of(Code::Impossible, services, what, remedy)
    };
    unavailable.map(|(kind, why)| finding(kind, why)).collect()
}

/// Whether a live service has this scheduler and engine.
fn is_live(live: &Live, key: &ServiceKey, config: &ServiceConfig) -> bool {
    live.services.get(key).is_some_and(|service| {
        service.config.scheduler == config.scheduler && service.config.engine == config.engine
    })
}

fn module_of(driver: TunnelDriver) -> &'static str {
    match driver {
        TunnelDriver::Ipip => "ipip",
        TunnelDriver::Sit => "sit",
        TunnelDriver::Ip6tnl => "ip6_tunnel",
        TunnelDriver::Gre => "ip_gre",
        TunnelDriver::Ip6gre => "ip6_gre",
    }
}

/// Suspects a program that runs, if the host differs in what it changes.
fn other_writer(facts: &Facts, writer: Writer) -> Option<Finding> {
    let is_binding = |op: &&Op| matches!(op, Op::Bind { .. } | Op::Unbind { .. });
    let is_changed = |op: &&Op| match writer {
        Writer::KubeProxy | Writer::Ldirectord => op.service().is_some(),
        Writer::Keepalived => op.service().is_some() || is_binding(op),
        Writer::Pacemaker | Writer::KubeVip | Writer::Vrrpd | Writer::Networkd => is_binding(op),
    };
    let changed: Vec<&Op> = facts.steps.iter().filter(is_changed).collect();
    let moved = "remove the addresses that it moves from the spec";
    let (name, remedy) = match writer {
        Writer::KubeProxy => {
            ("kube-proxy", "set `excludeCIDRs` of kube-proxy to the VIPs, and restart it")
        }
        Writer::Keepalived => (
            "keepalived",
            "remove the services or addresses from keepalived.conf, or from the spec",
        ),
        Writer::Ldirectord => {
            ("ldirectord", "write `ignore: [weight]` in the services whose weights it sets")
        }
        Writer::Pacemaker => ("Pacemaker", moved),
        Writer::KubeVip => ("kube-vip", moved),
        Writer::Vrrpd => ("vrrpd", moved),
        Writer::Networkd => {
            ("systemd-networkd", "write `ManageForeignAddresses=no` in networkd.conf")
        }
    };
    let first = changed.first()?;
    let labels = Labels::new(&facts.desired);
    let line = Line { op: first, labels: &labels };
    let what = format!("{name} runs, and the host differs in what it changes: {line}");
    let services = changed.iter().filter_map(|op| op.service());
    Some(Finding::of(Code::OtherWriter, services, what, remedy.to_owned()))
}
