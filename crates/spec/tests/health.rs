//! Health checks, what follows from them, and overrides of a spec.

use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::check::{
    Check, Close, Flap, HttpOptions, HttpVersion, Kind, KindName, StatusRange, TcpOptions,
};
use evenkeel_model::{
    Cluster, Desired, Family, HostInputs, Initial, NamedService, OnFailure, OverlayEffect,
    OwnAddress, Protocol, QuorumSize, RealServerKey, ServiceHealth, ServiceKey, SourceNat,
    VipWithoutQuorum, WhenNone,
};
use evenkeel_spec::{HostKnowledge, Loaded, Parameter, Parameters, Source, load, load_with};

const ALL: &str = include_str!("checks.yaml");

fn loaded(text: &str) -> Loaded {
    load(&[Source::new("spec.yaml", text)]).unwrap_or_else(|problems| panic!("{problems}"))
}

fn good(text: &str) -> Desired {
    let loaded = loaded(text);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.desired
}

fn named<'a>(desired: &'a Desired, name: &str) -> &'a NamedService {
    desired.services.values().find(|it| &*it.name == name).expect("the service")
}

fn health<'a>(desired: &'a Desired, name: &str) -> &'a ServiceHealth {
    named(desired, name).health.as_ref().expect("it is checked")
}

fn key(address: &str, port: u16) -> RealServerKey {
    RealServerKey { address: address.parse().expect("an address"), port }
}

fn kinds(checks: &[Check]) -> Vec<KindName> {
    checks.iter().map(|it| it.kind.name()).collect()
}

fn service(keys: &str) -> String {
    format!(
        "version: 1\nservices:\n  - {{ name: web, vip: 192.0.2.1, port: 80, {keys} }}\n\
         pools:\n  - {{ name: sorry, real_servers: [ {{ address: 10.0.0.9 }} ] }}\n"
    )
}

#[test]
fn every_key_is_read() {
    let desired = good(ALL);
    let web = health(&desired, "web");
    let policy = web.policy;
    assert_eq!(policy.on_failure, OnFailure::Weight0);
    assert_eq!(policy.cut_after, Duration::from_secs(10));
    assert_eq!(policy.initial, Initial::AsLive);
    assert_eq!(policy.startup, Duration::from_secs(3));
    assert_eq!(policy.quorum.size, QuorumSize::Weight(NonZeroU8::new(50).expect("50")));
    assert_eq!(policy.quorum.hysteresis, 10);
    assert_eq!((policy.max_out, policy.when_none), (50, WhenNone::Refuse));
    assert_eq!(policy.slow_start, Duration::from_secs(30));
    assert_eq!(policy.vip, VipWithoutQuorum::Unbind);
    let [check] = web.checks_of(&key("10.0.0.21", 80)) else { panic!("one check") };
    assert_eq!(check.port.map(u16::from), Some(8080));
    assert_eq!(check.source, Some(IpAddr::from([10, 0, 0, 1])));
    assert_eq!((check.interval, check.fast), (Duration::from_secs(2), Duration::from_millis(500)));
    assert_eq!(check.timeout, Duration::from_millis(1_500));
    assert_eq!((check.rise.get(), check.fall.get(), check.jitter), (2, 3, 10));
    assert_eq!((check.close, check.flap), (Some(Close::Fin), None));
    let Kind::Http(HttpOptions { tls: None, version: HttpVersion::Http1, headers, status, .. }) =
        &check.kind
    else {
        panic!("{check:?}")
    };
    assert_eq!(headers[0].name, "X-Probe");
    let expected = [StatusRange { first: 200, last: 299 }, StatusRange { first: 304, last: 304 }];
    assert_eq!(**status, expected);
    // Its own check is nearer than that of its pool, and a list needs all.
    let own = web.checks_of(&key("10.0.0.22", 80));
    assert_eq!(kinds(own), [KindName::Tcp, KindName::Grpc, KindName::Exec, KindName::File]);
    let Kind::Tcp(TcpOptions { send, expect }) = &own[0].kind else { panic!("tcp") };
    assert_eq!((&send[..], expect.as_deref()), (&b"PING\r\n"[..], Some(&b"+PONG"[..])));
    let fallback = web.fallback.as_ref().expect("a fallback");
    assert_eq!((&*fallback.pool, fallback.real_servers.len()), ("sorry", 1));
    let sorry = key("10.0.0.99", 80);
    assert_eq!(kinds(web.checks_of(&sorry)), [KindName::Icmp, KindName::Tls]);
    assert_eq!(web.checks_of(&sorry)[0].interval, Duration::from_secs(5));

    let dns = health(&desired, "dns");
    assert_eq!(dns.policy.cut_after, Duration::from_secs(20), "of the defaults");
    let checks = dns.checks_of(&key("10.0.0.31", 53));
    assert_eq!(kinds(checks), [KindName::Dns, KindName::Udp, KindName::Icmp]);
    let four = NonZeroU32::new(4).expect("4");
    let flap = Flap { changes: four, within: Duration::from_mins(5), hold: Duration::from_mins(2) };
    assert!(checks.iter().all(|check| check.flap == Some(flap)));
    assert_eq!(dns.checks.len(), 1, "the other has `check: none`");
    assert_eq!(health(&desired, "marked").checks.len(), 1);
    assert_eq!(named(&desired, "plain").health, None);

    let effects: Vec<OverlayEffect> = desired.overrides.iter().map(|it| it.effect).collect();
    let expected = [
        OverlayEffect::Weight(0),
        OverlayEffect::Out,
        OverlayEffect::AsSpec,
        OverlayEffect::Weight(5),
    ];
    assert_eq!(effects, expected);
    let first = &desired.overrides[0];
    assert_eq!(first.target.to_string(), "web/10.0.0.21");
    assert_eq!((first.since, first.until), (0, Some(1_798_718_400)));
    assert_eq!((&*first.by, &*first.reason), ("the spec", "new disks"));
    assert_eq!(desired.overrides[1].until, None);
    assert_eq!(desired.overrides[3].until, Some(1_798_718_400 - 3_600));
    let directory = desired.maintenance_dir.as_deref().and_then(|it| it.to_str());
    assert_eq!(directory, Some("/etc/evenkeel/maintenance"));
}

#[test]
fn what_is_absent_has_its_default() {
    let desired = good(&service("check: { https: {} }, real_servers: [ { address: 10.0.0.1 } ]"));
    let web = health(&desired, "web");
    assert_eq!(web.policy, evenkeel_model::HealthPolicy::default());
    let [check] = web.checks_of(&key("10.0.0.1", 80)) else { panic!("one check") };
    let options = HttpOptions {
        tls: Some(evenkeel_model::check::TlsOptions::default()),
        version: HttpVersion::Negotiated,
        ..HttpOptions::default()
    };
    assert_eq!(*check, Check::new(Kind::Http(options)));
    // A short interval has no longer `fast`.
    let text =
        service("check: { tcp: {}, interval: 200ms }, real_servers: [ { address: 10.0.0.1 } ]");
    let desired = good(&text);
    let check = &health(&desired, "web").checks_of(&key("10.0.0.1", 80))[0];
    assert_eq!(check.fast, Duration::from_millis(200));
    let udp = "protocol: udp, check: { icmp: {} }, real_servers: [ { address: 10.0.0.1 } ]";
    assert_eq!(health(&good(&service(udp)), "web").policy.cut_after, Duration::ZERO);
    for (scheduler, expected) in [
        ("dh", OnFailure::Remove),
        ("sh", OnFailure::Remove),
        ("mh", OnFailure::Remove),
        ("sh, scheduler_flags: [sh-fallback]", OnFailure::Weight0),
        ("wlc", OnFailure::Weight0),
    ] {
        let keys = format!(
            "scheduler: {scheduler}, check: {{ tcp: {{}} }}, real_servers: [ {{ address: 10.0.0.1 }} ]"
        );
        let policy = health(&good(&service(&keys)), "web").policy;
        assert_eq!(policy.on_failure, expected, "{scheduler}");
    }
}

#[test]
fn the_nearest_check_wins() {
    let text = |pool: &str, service: &str, defaults: &str| {
        format!(
            "version: 1\ndefaults: {{ weight: 1{defaults} }}\nservices:\n  \
             - {{ name: web, vip: 192.0.2.1, port: 80, pool: app{service} }}\n\
             pools:\n  - name: app\n{pool}    real_servers:\n      \
             - {{ address: 10.0.0.1 }}\n      - {{ address: 10.0.0.2, check: {{ udp: {{}} }} }}\n"
        )
    };
    let first = |text: &str| {
        let desired = good(text);
        let health = health(&desired, "web");
        assert_eq!(kinds(health.checks_of(&key("10.0.0.2", 80))), [KindName::Udp]);
        kinds(health.checks_of(&key("10.0.0.1", 80)))
    };
    let pool = "    check: { tcp: {} }\n";
    let (service, defaults) = (", check: { http: {} }", ", check: { icmp: {} }");
    assert_eq!(first(&text(pool, service, defaults)), [KindName::Tcp]);
    assert_eq!(first(&text("", service, defaults)), [KindName::Http]);
    assert_eq!(first(&text("", "", defaults)), [KindName::Icmp]);
    assert_eq!(first(&text("", "", "")), []);
    assert_eq!(first(&text("    check: none\n", service, defaults)), []);
    assert_eq!(first(&text("", ", check: none", defaults)), []);
}

#[test]
fn health_is_merged_key_by_key() {
    let text = "version: 1
defaults:
  scheduler: wlc
  weight: 10
  check: { tcp: {} }
  health: { quorum: 2, max_out: 40%, slow_start: 10s, fallback: { pool: sorry }, on_failure: weight0 }
services:
  - { name: a, vip: 192.0.2.1, port: 1, health: { quorum: 3 }, real_servers: [ { address: 10.0.0.1 } ] }
  - { name: b, vip: 192.0.2.1, port: 2, scheduler: sh, health: { fallback: none }, real_servers: [ { address: 10.0.0.1 } ] }
pools: [ { name: sorry, real_servers: [ { address: 10.0.0.9 } ] } ]
";
    let desired = good(text);
    let (a, b) = (health(&desired, "a"), health(&desired, "b"));
    assert_eq!(a.policy.quorum.size, QuorumSize::Servers(3));
    assert_eq!((a.policy.max_out, a.policy.slow_start), (40, Duration::from_secs(10)));
    assert!(a.fallback.as_ref().is_some_and(|it| it.checks.is_empty()), "no check of its own");
    assert_eq!(b.policy.quorum.size, QuorumSize::Servers(2));
    // What a default asks and a scheduler cannot have.
    assert_eq!((b.policy.slow_start, b.policy.on_failure), (Duration::ZERO, OnFailure::Remove));
    assert_eq!(b.fallback, None);
}

#[test]
fn a_fallback_pool_is_expanded_like_any_other() {
    let desired = good(
        "version: 1
services:
  - name: web
    vips: [192.0.2.1, \"2001:db8::1\"]
    ports: [80, 443]
    forward: fullnat
    check: { tcp: {} }
    health: { fallback: { pool: sorry } }
    real_servers: [ { address: 10.0.0.1 }, { address: \"2001:db8:1::1\" } ]
pools:
  - name: sorry
    real_servers: [ { address: 10.0.0.9, port: 8080 }, { address: \"2001:db8:1::9\", check: { icmp: {} } } ]
",
    );
    let v4 = |port| ServiceKey::Address {
        address: [192, 0, 2, 1].into(),
        port,
        protocol: Protocol::Tcp,
    };
    for port in [80, 443] {
        let named = &desired.services[&v4(port)];
        let fallback = named.health.as_ref().and_then(|it| it.fallback.as_ref());
        let keys: Vec<_> =
            fallback.expect("it is there").real_servers.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, [key("10.0.0.9", 8080)]);
        assert_eq!(named.with_fallback().count(), 2);
        assert!(desired.is_full_nat(&v4(port), &key("10.0.0.9", 8080)));
    }
    let v6 = desired.services.iter().find(|(key, _)| key.family() == Family::Ipv6);
    let (_, named) = v6.expect("it is there");
    let health = named.health.as_ref().expect("checks");
    let own = key("2001:db8:1::9", health.checks.keys().next().expect("one").port);
    assert_eq!(kinds(health.checks_of(&own)), [KindName::Icmp]);
    let object = SourceNat { service: v4(80), real_server: key("10.0.0.9", 8080) }.into();
    assert!(desired.host_objects.contains_key(&object));
}

#[test]
fn an_emptied_list_of_a_checked_service_has_its_fallback() {
    let fallback = "health: { fallback: { pool: sorry } }";
    let text = service(&format!("check: {{ tcp: {{}} }}, {fallback}, real_servers: []"));
    let desired = good(&text);
    let health = health(&desired, "web");
    assert!(health.checks.is_empty() && health.fallback.is_some());
    let desired = good(&service("check: { tcp: {} }, real_servers: []"));
    assert_eq!(named(&desired, "web").health, None);
}

#[test]
fn real_servers_with_equal_checks_share_them() {
    let mut text = String::from(
        "version: 1\nchecks: { web: { http: { path: /healthz } } }\n\
         defaults: { health: { flap: {} } }\npools:\n  - name: app\n    real_servers:\n",
    );
    for number in 0..10_000 {
        let check = match number % 3 {
            0 => ", check: web",
            1 => ", check: { http: { path: /healthz } }",
            _ => "",
        };
        let (high, low) = (number / 250, number % 250 + 1);
        text += &format!("      - {{ address: 10.0.{high}.{low}{check} }}\n");
    }
    text += "services:\n";
    for port in [80, 81] {
        text += &format!(
            "  - {{ name: s{port}, vip: 192.0.2.1, port: {port}, pool: app, check: web }}\n"
        );
    }
    let desired = good(&text);
    let all = desired.services.values().filter_map(|it| it.health.as_ref());
    let all: Vec<&Arc<[Check]>> = all.flat_map(|it| it.checks.values()).collect();
    assert_eq!(all.len(), 20_000);
    assert!(all[0][0].flap.is_some());
    assert!(all.iter().all(|it| Arc::ptr_eq(it, all[0])));
}

#[test]
fn several_files_are_merged() {
    let source = |texts: &[&str]| {
        let named = texts.iter().enumerate();
        let sources: Vec<Source> =
            named.map(|(index, text)| Source::new(format!("{}.yaml", index + 1), *text)).collect();
        load(&sources)
    };
    let service = "services: [ { name: a, vip: 192.0.2.1, port: 80, real_servers: [ { address: 10.0.0.1 } ] } ]\n";
    let loaded = source(&[
        "version: 1\nchecks: { one: { tcp: {} } }\ndefaults: { check: [one, two], health: { quorum: 2 } }\n",
        "checks: { two: { icmp: {} } }\ndefaults: { health: { max_out: 50% } }\n\
         overrides: [ { target: 10.0.0.1, action: drain } ]\nmaintenance_dir: /m/\n",
        service,
    ]);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let policy = health(&loaded.desired, "a").policy;
    assert_eq!((policy.quorum.size, policy.max_out), (QuorumSize::Servers(2), 50));
    assert_eq!(loaded.desired.overrides.len(), 1);
    let problems = source(&[
        "version: 1\nchecks: { one: { tcp: {} } }\ndefaults: { check: one, health: { quorum: 2 } }\n\
         overrides: [ { target: 10.0.0.1, action: drain } ]\nmaintenance_dir: /m\n",
        "checks: { one: { icmp: {} } }\ndefaults: { check: one, health: { quorum: 2 } }\n\
         overrides: [ { target: 10.0.0.1, action: disable } ]\nmaintenance_dir: /m\n",
        service,
    ]);
    assert_eq!(
        problems.expect_err("they repeat each other").to_string(),
        "2.yaml:1:11: check one: the check `one` is defined twice (first written here: 1.yaml:2:16); give each check a name of its own\n\
         2.yaml:2:20: this default is written twice (first written here: 1.yaml:3:20); keep one of them\n\
         2.yaml:2:43: this default is written twice (first written here: 1.yaml:3:43); keep one of them\n\
         2.yaml:3:24: two overrides are of `10.0.0.1` (the first one: 1.yaml:4:24); keep one of them\n\
         2.yaml:4:18: `maintenance_dir` is written twice (first written here: 1.yaml:5:18); keep one of them"
    );
}

#[test]
fn parameters_are_values_of_these_keys_too() {
    struct Known;
    impl Parameters for Known {
        fn value(&self, parameter: Parameter<'_>) -> Result<Option<String>, String> {
            let Parameter::Set(name) = parameter else { return Ok(None) };
            Ok(Some(
                match name {
                    "check" => "web",
                    "time" => "750ms",
                    "status" => "204",
                    "quorum" => "50%",
                    "until" => "2026-12-31T12:00:00Z",
                    "server" => "10.0.0.1",
                    "flag" => "true",
                    _ => return Ok(None),
                }
                .to_owned(),
            ))
        }
    }
    let text = "version: 1
checks: { web: { http: { path: \"/${check}\", status: [\"${status}\"], http2: \"${flag}\" }, fast: \"${time}\" } }
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    check: ${check}
    health: { quorum: \"${quorum}\" }
    real_servers: [ { address: \"${server}\" } ]
overrides: [ { target: \"web/${server}\", action: drain, until: \"${until}\" } ]
";
    let loaded = load_with(&[Source::new("spec.yaml", text)], &Known);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let health = health(&loaded.desired, "web");
    let check = &health.checks_of(&key("10.0.0.1", 80))[0];
    assert_eq!(check.fast, Duration::from_millis(750));
    let Kind::Http(options) = &check.kind else { panic!("{check:?}") };
    assert_eq!((&*options.path, options.version), ("/web", HttpVersion::Http2));
    assert_eq!(options.status, [StatusRange { first: 204, last: 204 }]);
    assert_eq!(loaded.desired.overrides[0].until, Some(1_798_718_400));
}

#[test]
fn the_name_of_a_tls_session_is_that_of_the_host_without_its_port() {
    for (keys, expected) in [
        ("https: { host: \"www.example.org:8443\" }", Some("www.example.org")),
        ("https: { host: \"www.example.org:8443\", sni: a.example }", Some("a.example")),
        ("https: { host: www.example.org }", None),
        ("https: { host: \"192.0.2.1:8443\" }", None),
        ("grpc: { tls: {}, authority: \"cart.example:50051\" }", Some("cart.example")),
    ] {
        let text =
            service(&format!("check: {{ {keys} }}, real_servers: [ {{ address: 10.0.0.1 }} ]"));
        let desired = good(&text);
        let check = &health(&desired, "web").checks_of(&key("10.0.0.1", 80))[0];
        let tls = match &check.kind {
            Kind::Http(options) => options.tls.as_ref(),
            Kind::Grpc(options) => options.tls.as_ref(),
            other => panic!("{other:?}"),
        };
        assert_eq!(tls.and_then(|it| it.sni.as_deref()), expected, "{keys}");
    }
}

/// A host with one address.
struct Host(IpAddr);

impl Parameters for Host {
    fn value(&self, _: Parameter<'_>) -> Result<Option<String>, String> {
        Ok(None)
    }

    fn host(&self, _: &Cluster) -> Result<HostKnowledge, String> {
        let addresses = vec![OwnAddress {
            interface: "eth0".into(),
            network: ipnet::IpNet::new(self.0, 24).expect("a network"),
        }];
        Ok(HostKnowledge::Host(HostInputs { addresses, ..HostInputs::default() }))
    }
}

#[test]
fn roles_know_the_servers_of_a_fallback_pool_and_the_overrides_of_their_director() {
    let text = "version: 1
directors:
  - { name: lb1, addresses: [192.0.2.2] }
  - { name: lb2, addresses: [192.0.2.3] }
vips:
  - { address: 192.0.2.10, interface: eth0, on: lb1 }
  - { address: 192.0.2.11, interface: eth0, on: lb2 }
services:
  - { name: a, vip: 192.0.2.10, port: 80, check: { tcp: {} }, health: { fallback: { pool: sorry } }, real_servers: [ { address: 192.0.2.21 } ] }
  - { name: b, vip: 192.0.2.11, port: 80, real_servers: [ { address: 192.0.2.22 } ] }
pools: [ { name: sorry, real_servers: [ { address: 192.0.2.29 } ] } ]
overrides:
  - { target: a/192.0.2.21, action: drain }
  - { target: b/192.0.2.22, action: drain }
maintenance_dir: /m
";
    let on = |address: [u8; 4]| {
        let loaded = load_with(&[Source::new("spec.yaml", text)], &Host(address.into()));
        loaded.unwrap_or_else(|problems| panic!("{problems}")).desired
    };
    let director = on([192, 0, 2, 2]);
    let targets: Vec<String> = director.overrides.iter().map(|it| it.target.to_string()).collect();
    assert_eq!(targets, ["a/192.0.2.21"]);
    assert!(director.maintenance_dir.is_some());
    let sorry = on([192, 0, 2, 29]);
    assert!(sorry.vips.keys().any(|it| it.address == IpAddr::from([192, 0, 2, 10])));
    assert!(sorry.overrides.is_empty() && sorry.maintenance_dir.is_none());
}
