//! `doctor --probe` on clusters under direct routing: what the answers of other hosts show.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use evenkeel_host::{Host, NeighbourAnswers, NeighbourQuestion};

use super::doctor::{DIRECT, WEB, WEB6};
use super::*;

/// Returns which hosts say to the client that they have an address.
pub(super) fn owners(site: &Site, address: &str) -> usize {
    let address: IpAddr = address.parse().unwrap();
    let question = NeighbourQuestion { address, interface: "eth0".to_owned() };
    let ask = || Host::connect().unwrap().ask_neighbours(&BTreeSet::from([question.clone()]));
    let answers = site.machines["client"].run(ask).unwrap().unwrap();
    let NeighbourAnswers::From(hosts) = &answers[&question] else { panic!("{answers:?}") };
    hosts.len()
}

/// Whether rs1 becomes the owner of the VIP for the client, after it asked for the client's address.
fn is_stolen(site: &Site) -> bool {
    let link = site.run("rs1", "ip -o link show dev eth0");
    let mac = link.split_once("link/ether ").unwrap().1.split(' ').next().unwrap();
    (0..20).any(|_| {
        site.run("rs1", "ip neighbour flush dev eth0");
        for _ in 0..2 {
            // Whether it is answered depends on whom the client believes.
            let _ = site.is_answered("10.0.0.100:80");
        }
        let known = site.run("client", "ip neighbour show 10.0.0.100 dev eth0");
        // The kernel believes no other host within a second.
        std::thread::sleep(Duration::from_millis(300));
        known.contains(mac)
    })
}

/// What a real server does to the neighbours is seen by the client, after `doctor` found the reason.
#[test]
fn real_servers_that_neighbours_believe_are_found_on_every_host() {
    let mut site = Site::build(&lan(), &["rs1", "rs2", "director"]);
    for real_server in ["rs1", "rs2"] {
        site.serve(real_server, &[80]);
    }
    site.set_up(DIRECT);
    assert_eq!((owners(&site, "10.0.0.100"), owners(&site, "fd00::100")), (1, 1));
    let codes = |host: &str| -> Vec<String> {
        let found = site.examine(host, DIRECT, &["--probe"]).findings;
        found.into_iter().map(|it| it.code).collect()
    };
    for (code, vip, script, mend) in [
        (
            "EK030",
            "10.0.0.100",
            "sysctl -qw net.ipv4.conf.all.arp_ignore=0",
            "sysctl -qw net.ipv4.conf.all.arp_ignore=1",
        ),
        (
            "EK033",
            "10.0.0.100",
            "ip address add 10.0.0.100/32 dev eth0",
            "ip address del 10.0.0.100/32 dev eth0",
        ),
        (
            "EK033",
            "fd00::100",
            "ip address add fd00::100/128 dev eth0 nodad",
            "ip address del fd00::100/128 dev eth0",
        ),
    ] {
        site.run("rs1", script);
        assert!(codes("rs1").iter().any(|it| it == code), "{code}");
        assert_eq!(codes("rs2"), ["EK023"], "{code}: several hosts answer");
        assert_eq!(codes("director"), ["EK023"], "{code}: another host answers");
        assert_eq!(owners(&site, vip), 2, "{code}");
        site.run("rs1", mend);
        assert_eq!(owners(&site, vip), 1, "{code}");
        ["rs1", "rs2", "director"].iter().for_each(|host| assert!(codes(host).is_empty()));
    }
    site.run("rs1", "sysctl -qw net.ipv4.conf.all.arp_announce=0");
    assert_eq!(codes("rs1"), ["EK004", "EK031"]);
    assert!(is_stolen(&site));
}

#[test]
fn real_servers_and_routers_that_do_not_answer_are_found() {
    let mut site = Site::build(&lan(), &["rs1", "rs2", "director"]);
    for real_server in ["rs1", "rs2"] {
        site.serve(real_server, &[80]);
    }
    site.set_up(DIRECT);
    let before = site.run("director", "ip neighbour show nud all | grep -c . || true");
    site.run("rs1", "ip link set eth0 down");
    let Examined { findings, not_checked } = site.examine("director", DIRECT, &["--probe"]);
    let codes: Vec<&str> = findings.iter().map(|it| &*it.code).collect();
    assert_eq!(codes, ["EK022", "EK022"], "one for each family: {findings:?}");
    assert_eq!(not_checked, Vec::<String>::new());
    assert_eq!(site.run("director", "ip neighbour show nud all | grep -c . || true"), before);
    for request in [WEB, WEB6] {
        let answers: Vec<bool> = (0..2).map(|_| site.is_answered(request.unwrap())).collect();
        assert!(answers.contains(&false), "{request:?}");
    }
    // A MAC address that is set is used whatever the host answers.
    site.run(
        "director",
        "ip neighbour replace 10.0.0.11 lladdr 02:00:00:00:0f:0f dev eth0 nud permanent",
    );
    assert_eq!(site.examine("director", DIRECT, &["--probe"]).findings.len(), 1);
    site.run("director", "ip neighbour del 10.0.0.11 dev eth0");
    // Without the option, or the capability, nothing is known of them.
    let unasked = ["EK022, EK023: no neighbour is asked without `--probe`".to_owned()];
    let examined = site.examine("director", DIRECT, &[]);
    assert_eq!(examined, Examined { findings: vec![], not_checked: unasked.into() });
    let inner = site.command("director", &["doctor", "--probe"]);
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=-net_raw", "--bounding-set=-net_raw"]).arg(inner.get_program());
    let output = command.args(inner.get_args()).arg(site.spec_path()).output().unwrap();
    assert_eq!(
        (output.status.code(), &*String::from_utf8_lossy(&output.stdout)),
        (
            Some(0),
            "not checked: EK022, EK023: no neighbour is asked on eth0: cannot ask the neighbours for \
             addresses without CAP_NET_RAW\nNo findings.\n"
        )
    );
    site.run("director", "ip link set eth0 down");
    let examined = site.examine("rs2", DIRECT, &["--probe"]);
    assert_eq!(examined, Examined::default(), "no host answers for the VIP: it may be on `lo`");
}
