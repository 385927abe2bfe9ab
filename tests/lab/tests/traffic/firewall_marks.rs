//! Firewall marks: iptables joins two ports to one persistent service of each family.

use super::*;

const SPEC: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [10.0.0.1, "fd00::1"] }
vips:
  - { address: 10.0.0.100, interface: eth0 }
  - { address: "fd00::100", interface: eth0 }
services:
  - name: shop
    fwmark: 7
    family: ipv4
    scheduler: rr
    persistence: 10m
    forward: dr
    on_real_servers: { vips: [10.0.0.100] }
    real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }]
  - name: shop6
    fwmark: 7
    family: ipv6
    scheduler: rr
    persistence: 10m
    forward: dr
    on_real_servers: { vips: ["fd00::100"] }
    real_servers: [{ address: "fd00::11" }, { address: "fd00::12" }]
"#;

/// The marks, which are not evenkeel's.
const MARKS: &str = "
for command in 'iptables-legacy -d 10.0.0.100' 'ip6tables-legacy -d fd00::100'; do
    set -- $command
    $1 -t mangle -A PREROUTING $2 $3 -p tcp -m multiport --dports 80,443 -j MARK --set-mark 7
done";

#[test]
fn marks_of_iptables_join_two_ports_so_that_a_client_stays_with_one_real_server() {
    let mut site = Site::build(&lan(), &["rs1", "rs2", "director"]);
    for real_server in ["rs1", "rs2"] {
        site.serve(real_server, &[80, 443]);
    }
    site.run("director", MARKS);
    site.set_up(SPEC);
    for (vip, clients) in
        [("10.0.0.100", ["10.0.0.8", "10.0.0.9"]), ("[fd00::100]", ["fd00::8", "fd00::9"])]
    {
        let real_servers = clients.map(|client| {
            let first = site.ask_from(client, &format!("{vip}:80"));
            let real_server = first.strip_suffix(":80").unwrap();
            for port in [443, 80, 443] {
                let answer = site.ask_from(client, &format!("{vip}:{port}"));
                assert_eq!(answer, format!("{real_server}:{port}"), "{client}");
            }
            real_server.to_owned()
        });
        assert_eq!(BTreeSet::from(real_servers), BTreeSet::from(["rs1", "rs2"].map(str::to_owned)));
    }
}
