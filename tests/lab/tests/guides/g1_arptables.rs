//! G1 with ARP rules on the real servers, in place of the two sysctls.

use evenkeel_lab_tests::packet_rules::{self, ARPTABLES};

use super::*;

const VIP: &str = "192.168.1.201";

/// The guide's rules, in which `RIP` stands for the real server's own address.
const RULES: &str = "ARPTABLES -A INPUT -d 192.168.1.201 -j DROP
    ARPTABLES -A OUTPUT -s 192.168.1.201 -j mangle --mangle-ip-s RIP
    ip address add 192.168.1.201/32 dev lo label lo:1";
const REAL_SERVERS: [(&str, &str); 2] = [("rs1", "192.168.1.20"), ("rs2", "192.168.1.30")];

fn build(way: Way) -> Site {
    let guide = arp::guide();
    let site = Site::build(&guide, way);
    match way {
        Way::Commands => {
            site.run("director", guide.commands[0].script);
            for (host, address) in REAL_SERVERS {
                site.run(host, &RULES.replace("ARPTABLES", ARPTABLES).replace("RIP", address));
            }
        }
        Way::Evenkeel => site.edit("    forward: dr\n", "    forward: dr\n    arp: arptables\n"),
    }
    site
}

fn rules(site: &Site, host: &str) -> Vec<String> {
    site.machines[host].run(packet_rules::listed).unwrap()
}

#[test]
fn g1_arp_rules_hide_the_vip_as_the_sysctls_do() {
    let [by_hand, by_evenkeel] = [Way::Commands, Way::Evenkeel].map(|way| {
        let site = build(way);
        let wire = Wire::watch(&site.machines, arp::CLIENT);
        let mut seen = arp::Seen::default();
        for _ in 0..arp::BROADCASTS {
            seen.ask(&site, &wire);
        }
        seen.assert_only_director();
        g1::check(&site);
        for (host, address) in REAL_SERVERS {
            let rules = rules(&site, host);
            let [drops, mangles] = match way {
                Way::Evenkeel if packet_rules::has_nftables() => [
                    format!("arp daddr ip {VIP} drop comment \"evenkeel\""),
                    format!("arp saddr ip {VIP} arp saddr ip set {address} comment \"evenkeel\""),
                ],
                _ => [
                    format!("arptables -j DROP -d {VIP}"),
                    format!("arptables -j mangle -s {VIP} --mangle-ip-s {address}"),
                ],
            };
            for rule in [drops, mangles] {
                assert_eq!(
                    rules.iter().filter(|it| it.trim() == rule).count(),
                    1,
                    "{rule}: {rules:?}"
                );
            }
        }
        if way == Way::Evenkeel {
            site.assert_in_sync();
            site.assert_no_findings(&site.applied());
        }
        let state = site.state();
        if way == Way::Evenkeel {
            for (host, _) in REAL_SERVERS {
                site.tear_down(host);
                assert_eq!(rules(&site, host), [""; 0]);
            }
        }
        state
    });
    assert_agree(&by_hand, &by_evenkeel, g1::DIFFERENCES);
}
