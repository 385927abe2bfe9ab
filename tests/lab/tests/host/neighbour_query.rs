//! Tests asking neighbours. That hosts of both families answer is shown by the tests of `doctor`.

use std::collections::BTreeSet;

use evenkeel_host::{NeighbourAnswers, NeighbourQuestion, NotAsked};
use evenkeel_lab::net::{Machine, Machines};

use super::*;

fn question(address: &str, interface: &str) -> NeighbourQuestion {
    NeighbourQuestion { address: address.parse().unwrap(), interface: interface.to_owned() }
}

/// A namespace with an Ethernet interface, `near`, to another one, `far`, whose own answers do not count.
fn host_with_pair() -> Host {
    fresh_namespace();
    run("ip link add near type veth peer name far");
    run("ip link set near up");
    run("ip link set far up");
    run("ip addr add 192.0.2.1/24 dev near");
    run("ip addr add 192.0.2.2/24 dev far");
    Host::connect().unwrap()
}

#[test]
fn interfaces_without_neighbours_are_not_asked() {
    let host = host_with_dummy();
    run("ip link add v0 type veth peer name v1");
    let questions = ["lo", "d0", "v0", "none"].map(|interface| question("192.0.2.9", interface));
    let answers = host.ask_neighbours(&questions.clone().into()).unwrap();
    let expected = [
        NotAsked::NoNeighbours(NotNeeded::Loopback),
        NotAsked::NoNeighbours(NotNeeded::Dummy),
        NotAsked::NoNeighbours(NotNeeded::Down),
        NotAsked::InterfaceMissing,
    ];
    for (question, reason) in questions.iter().zip(expected) {
        assert_eq!(answers[question], NeighbourAnswers::NotAsked(reason), "{question:?}");
    }
}

#[test]
fn an_address_that_only_this_host_has_is_answered_for_by_no_other() {
    let host = host_with_pair();
    let before = run("ip -4 neighbour show dev near nud all");
    let questions = ["192.0.2.2", "192.0.2.9", "fe80::9"].map(|address| question(address, "near"));
    let answers = host.ask_neighbours(&questions.into()).unwrap();
    let none = NeighbourAnswers::From(BTreeSet::new());
    assert!(answers.values().all(|answer| *answer == none), "{answers:?}");
    assert_eq!(run("ip -4 neighbour show dev near nud all"), before);
}

/// More than the buffers of the sockets have room for at once.
#[test]
fn answers_of_a_thousand_neighbours_are_all_received() {
    let machine = |name, addresses: &[&str]| Machine::new(name).on("lan", "eth0", addresses);
    let machines = Machines::build(&[
        machine("asker", &["10.1.255.1/16", "fd00::1/64"]),
        machine("other", &["10.1.255.2/16", "fd00::2/64"]),
    ])
    .unwrap();
    let script = "ip route add local 10.1.0.0/22 dev lo
        for i in $(seq 500); do echo address add fd00::1:$i/128 dev eth0 nodad; done | ip -batch -";
    machines["other"].output("sh", &["-e", "-c", script]).unwrap();
    let of_number = |number: u16| {
        let [high, low] = number.to_be_bytes();
        [format!("10.1.{high}.{low}"), format!("fd00::1:{number}")]
    };
    let questions: BTreeSet<NeighbourQuestion> =
        (1..=500).flat_map(of_number).map(|address| question(&address, "eth0")).collect();
    assert_eq!(questions.len(), 1000);
    let ask = || Host::connect().unwrap().ask_neighbours(&questions).unwrap();
    let answers = machines["asker"].run(ask).unwrap();
    let is_answered = |answer: &NeighbourAnswers| matches!(answer, NeighbourAnswers::From(hosts) if hosts.len() == 1);
    let silent: Vec<String> = answers
        .iter()
        .filter(|(_, answer)| !is_answered(answer))
        .map(|(question, _)| question.address.to_string())
        .collect();
    assert_eq!(silent, [""; 0]);
}

#[test]
fn without_the_capability_no_neighbour_is_asked() {
    let host = host_with_pair();
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::NET_RAW);
    set_capabilities(None, sets).unwrap();
    let error = host.ask_neighbours(&BTreeSet::from([question("192.0.2.9", "near")])).unwrap_err();
    assert!(matches!(error, Error::NotPermitted { capability: Capability::NetRaw, .. }), "{error}");
}
