//! Merges several sources into one spec.

use std::collections::BTreeMap;

use evenkeel_model::{
    DesiredTimeouts, Drain, Family, Guards, Limits, Scope, ServiceKey, SyncState, WhenLeft,
};
use evenkeel_spec::{Loaded, Source, load};

fn sources(texts: &[&str]) -> Vec<Source> {
    let named = texts.iter().enumerate();
    named.map(|(index, text)| Source::new(format!("{}.yaml", index + 1), *text)).collect()
}

fn good(texts: &[&str]) -> Loaded {
    load(&sources(texts)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn bad(texts: &[&str]) -> String {
    load(&sources(texts)).expect_err("it has problems").to_string()
}

#[test]
fn lists_append_and_maps_merge_by_key() {
    let loaded = good(&[
        "version: 1\nscope: { vips: [192.0.2.0/24] }\ndefaults: { scheduler: rr }\nservices:\n  - { name: a, vip: 192.0.2.1, port: 80, pool: p }\n",
        "version: 1\nscope: { vips: [198.51.100.0/24], fwmarks: [7] }\ndefaults: { weight: 5 }\nservices:\n  - { name: b, fwmark: 7, family: ipv4, real_servers: [] }\n",
        "pools:\n  - { name: p, real_servers: [ { address: 10.0.0.1 } ] }\nvips:\n  - { address: 198.51.100.1, interface: eth0 }\n",
    ]);
    let desired = loaded.desired;
    let Scope::Limited(Limits { vips, fwmarks, services: _ }) = &desired.scope else {
        panic!("it is limited")
    };
    assert_eq!((vips.len(), fwmarks.len()), (2, 1));
    assert_eq!((desired.services.len(), desired.vips.len()), (2, 1));
    let a = desired.services.values().find(|named| &*named.name == "a").expect("it is there");
    assert_eq!(a.service.config.scheduler.as_str(), "rr");
    assert_eq!(a.service.real_servers.iter().map(|(_, server)| server.weight).sum::<u32>(), 5);
    let mark = ServiceKey::Fwmark { family: Family::Ipv4, fwmark: 7 };
    assert!(desired.services.contains_key(&mark));
}

#[test]
fn the_answer_for_what_leaves_the_scope_may_be_in_several_files_if_they_agree() {
    let of = |second: &str| {
        load(&sources(&[
            "version: 1\nscope: { vips: [192.0.2.0/24], left: remove }\n",
            &format!("scope: {{ fwmarks: [7]{second} }}\nservices: []\n"),
        ]))
    };
    for second in ["", ", left: remove"] {
        let loaded = of(second).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(loaded.desired.when_left, Some(WhenLeft::Remove));
    }
    assert_eq!(
        of(", left: keep").expect_err("they differ").to_string(),
        "2.yaml:1:30: `left` is `keep` here and `remove` in another file (first written here: \
         1.yaml:2:38); keep one of them: it is the answer for the whole scope"
    );
    let alone = load(&sources(&["version: 1\nscope: { left: keep }\nservices: []\n"]));
    assert!(alone.expect_err("no list").to_string().contains("none of `vips`"));
}

#[test]
fn the_same_leaf_twice_names_both_places() {
    assert_eq!(
        bad(&[
            "version: 1\nscope: all\ndefaults:\n  weight: 1\n  forward: dr\n  scheduler: rr\n  drain: 1m\n",
            "version: 1\nscope: all\ndefaults:\n  weight: 2\n  forward: nat\n  scheduler: rr\n  drain: 1m\n",
        ]),
        "2.yaml:2:8: `scope` is written twice (first written here: 1.yaml:2:8); keep one of them\n\
         2.yaml:4:11: this default is written twice (first written here: 1.yaml:4:11); keep one of them\n\
         2.yaml:5:12: this default is written twice (first written here: 1.yaml:5:12); keep one of them\n\
         2.yaml:6:14: this default is written twice (first written here: 1.yaml:6:14); keep one of them\n\
         2.yaml:7:10: this default is written twice (first written here: 1.yaml:7:10); keep one of them"
    );
    assert_eq!(
        bad(&["version: 1\nscope: { vips: [] }\n", "scope: all\n"]),
        "2.yaml:1:8: `scope` is written twice (first written here: 1.yaml:2:8); keep one of them"
    );
}

#[test]
fn timeouts_and_sysctls_merge_by_key_and_sync_daemons_append() {
    let desired = good(&[
        "version: 1\ntimeouts: { tcp: 1h }\nsysctls: { net.a: 1 }\nsync: [ { state: master, interface: eth1 } ]\n",
        "timeouts: { udp: 1m }\nsysctls: { net.b: \"3\\t  50 \" }\nsync: [ { state: backup, interface: eth1, id: 7 } ]\n",
        "sync: []\n",
    ])
    .desired;
    let timeouts = DesiredTimeouts { tcp: Some(3600), tcp_fin: None, udp: Some(60) };
    assert_eq!(desired.timeouts, timeouts);
    let sysctls: Vec<_> = desired.sysctls.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(sysctls, [("net.a", "1"), ("net.b", "3 50")]);
    let ids: Vec<_> = desired.sync.iter().flatten().map(|(state, it)| (*state, it.id)).collect();
    assert_eq!(ids, [(SyncState::Master, 0), (SyncState::Backup, 7)]);
}

#[test]
fn thresholds_of_guards_merge_by_key_and_the_default_drain_is_that_of_any_source() {
    let desired = good(&[
        "version: 1\nguards: { mass_delete: 80% }\ndefaults: { weight: 2 }\n",
        "guards: { unbind_in_use: 7 }\ndefaults: { drain: 1m }\n",
        "services:\n  - { name: a, vip: 192.0.2.1, port: 80, real_servers: [] }\n  - { name: b, vip: 192.0.2.1, port: 81, scheduler: sh, real_servers: [] }\n",
    ])
    .desired;
    assert_eq!(desired.guards, Guards { mass_delete: 80, mass_delete_from: 4, unbind_in_use: 7 });
    assert_eq!(desired.drain, Drain(60));
    let drains: Vec<_> = desired.services.values().map(|named| named.drain).collect();
    assert_eq!(drains, [Drain(60), Drain::NONE]);
    assert_eq!(
        bad(&["version: 1\nguards: { unbind_in_use: 7 }\n", "guards: { unbind_in_use: 7 }\n"]),
        "2.yaml:1:26: this threshold is written twice (first written here: 1.yaml:2:26); keep one of them"
    );
}

#[test]
fn keys_in_no_source_are_not_governed_and_an_empty_list_of_daemons_means_none() {
    let desired = good(&["version: 1\nservices: []\n"]).desired;
    assert_eq!((desired.timeouts, desired.sync), (DesiredTimeouts::default(), None));
    let desired = good(&["version: 1\nservices: []\n", "sync: []\n"]).desired;
    assert_eq!(desired.sync, Some(BTreeMap::new()));
}

#[test]
fn the_same_timeout_sysctl_or_daemon_in_two_sources_names_both_places() {
    let one = "timeouts: { udp: 1m }\nsysctls: { net.a: 1 }\nsync:\n  - { state: master, interface: eth1 }\n";
    assert_eq!(
        bad(&[&format!("version: 1\n{one}"), one]),
        "2.yaml:1:18: this timeout is written twice (first written here: 1.yaml:2:18); keep one of them\n\
         2.yaml:2:12: the sysctl `net.a` is written twice (first written here: 1.yaml:3:19); keep one of them\n\
         2.yaml:4:14: two sync daemons are master (the first one: 1.yaml:5:14); keep one of them: the kernel runs at most one of each state"
    );
}

#[test]
fn conflicting_values_in_two_sources_name_both_places() {
    assert_eq!(
        bad(&[
            "version: 1\nservices:\n  - { name: a, vip: 192.0.2.1, port: 80, real_servers: [] }\nvips:\n  - { address: 192.0.2.1, interface: eth0 }\n",
            "services:\n  - { name: a, vip: 192.0.2.1, port: 80, real_servers: [] }\nvips:\n  - { address: 192.0.2.1/24, interface: eth0 }\npools:\n  - { name: p, real_servers: [] }\n",
            "pools:\n  - { name: p, real_servers: [] }\n",
        ]),
        "2.yaml:2:13: service a: two services are named `a` (the first one: 1.yaml:3:13); give each its own name; one service may have several VIPs and ports\n\
         2.yaml:2:21: service a: two services on 192.0.2.1:80/tcp (the first one: 1.yaml:3:21); remove one of them, or change its VIP, port or protocol\n\
         2.yaml:4:16: 192.0.2.1 on eth0 is listed twice (first written here: 1.yaml:5:16); keep one of them\n\
         3.yaml:2:13: pool p: the pool `p` is defined twice (first written here: 2.yaml:6:13); give each pool a name of its own"
    );
}

#[test]
fn one_source_must_state_the_version_and_each_may() {
    assert_eq!(good(&["services: []\n", "version: 1\n"]).desired.services.len(), 0);
    assert_eq!(
        bad(&["services: []\n", "pools: []\n"]),
        "1.yaml:1:1: `version` is missing; write `version: 1` at the top"
    );
}

#[test]
fn an_unreadable_source_neither_hides_nor_causes_problems_of_the_others() {
    assert_eq!(
        bad(&[
            "version: 1\nservices: [ { name: a, vip: 192.0.2.1, port: 80, pool: there } ]\n",
            "pools: [",
            "vips: 5\n"
        ]),
        "2.yaml:1:9: this is not YAML: while parsing a node, did not find expected node content; check the indentation, quotes and brackets here and just before\n\
         3.yaml:1:7: `5` is not a list; write a list"
    );
    assert!(bad(&["version: 1\n", "# nothing\n"]).starts_with("2.yaml:1:1: the spec is empty"));
}

#[test]
fn no_source_at_all_is_an_error() {
    assert_eq!(
        bad(&[]),
        "there is no spec to read; name a file, a directory with *.yaml files, or `-`"
    );
}
