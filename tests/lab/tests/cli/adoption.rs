//! Objects that existed before evenkeel are adopted: a teardown keeps them, with their former
//! values.

use super::*;

/// A table created by hand, with every kind of service.
const BY_HAND: &str = "-A -t 192.0.2.1:80 -s wrr
    -a -t 192.0.2.1:80 -r 10.0.0.3:80 -g -w 7 -x 11 -y 5
    -a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1
    -a -t 192.0.2.1:80 -r 10.0.0.2:80 -i -w 1 --tun-type gue --tun-port 6081
    -A -u 192.0.2.1:53 -s sed -o
    -a -u 192.0.2.1:53 -r 10.0.0.4:5353 -m -w 2
    -A -t [2001:db8::1]:443 -s sh -p 301 -M 64
    -a -t [2001:db8::1]:443 -r [2001:db8:1::1]:443 -i -w 1
    -a -t [2001:db8::1]:443 -r [2001:db8:1::2]:443 -g -w 3
    -A --sctp-service 192.0.2.2:5000 -s rr
    -a --sctp-service 192.0.2.2:5000 -r 10.0.0.5:5000 -m -w 1
    -A -f 5 -s wlc -p 60
    -a -f 5 -r 10.0.0.6:0 -g -w 4
    -a -f 5 -r 10.0.0.7:0 -g -w 0
    -A -f 6 -6 -s mh -b mh-port
    -a -f 6 -6 -r [2001:db8:1::3]:0 -g -w 1";

/// Returns everything that a teardown must restore, as `ipvsadm` prints it, byte for byte.
fn table() -> (String, String, String) {
    (run("ipvsadm -Sn"), run("ipvsadm -Ln --thresholds"), run("ipvsadm -Ln --daemon"))
}

/// Creates a host with the table created by hand and a snapshot of it in `spec.yaml`.
fn by_hand() -> Fixture {
    let fixture = Fixture::expiring(BY_HAND);
    let snapshot = fixture.done("snapshot");
    fixture.write("spec.yaml", snapshot);
    fixture
}

impl Fixture {
    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Edits the spec; each text to be replaced must occur in it.
    fn edit(&self, edits: &[(&str, &str)]) {
        let mut text = self.read("spec.yaml");
        for (before, after) in edits {
            assert!(text.contains(before), "{before}: {text}");
            text = text.replace(before, after);
        }
        self.write("spec.yaml", text);
    }

    /// Runs a teardown without a prompt, asserts success and returns stdout.
    fn tear_down(&self, options: &str) -> String {
        let answer = self.evenkeel(&format!("teardown --yes {options}"));
        assert_eq!(answer.status, 0, "{answer:?}");
        answer.stdout
    }
}

#[test]
fn a_snapshot_that_is_applied_and_torn_down_leaves_the_table_unchanged() {
    let fixture = by_hand();
    let before = table();
    assert!(fixture.done("apply --yes spec.yaml").starts_with("In sync; "));
    let said = fixture.tear_down("");
    assert!(said.starts_with("Nothing to undo.\n"), "{said}");
    for service in [
        "192.0.2.1-80-tcp/192.0.2.1:80/tcp with 3 real servers",
        "192.0.2.2-5000-sctp/192.0.2.2:5000/sctp with 1 real server",
    ] {
        let line = format!("\n  adopted, stays: service {service}\n");
        assert!(said.contains(&line), "{line}: {said}");
    }
    assert_eq!(said.matches("  adopted, stays: service ").count(), 6, "{said}");
    assert_eq!(table(), before);
    assert_eq!(fixture.done("teardown --yes"), "Nothing to undo.\n", "all of it is forgotten");
}

#[test]
fn an_edited_weight_is_restored_by_a_teardown() {
    let fixture = by_hand();
    let before = table();
    fixture.edit(&[("weight: 7", "weight: 70")]);
    let plan = fixture.done("plan spec.yaml");
    assert!(plan.contains("weight 7 -> 70") && plan.contains("1 to edit"), "{plan}");
    fixture.done("apply --yes spec.yaml");
    assert_ne!(table(), before);
    let said = fixture.tear_down("");
    assert!(said.contains("weight 70 -> 7: applied\n"), "{said}");
    assert!(said.contains("  adopted, stays: service "), "{said}");
    assert_eq!(table(), before);
}

#[test]
fn a_teardown_restores_the_table_after_any_edits_and_additions() {
    let fixture = by_hand();
    run("ipvsadm --start-daemon master --mcast-interface eth0 --syncid 7");
    let before = table();
    let edits = [
        ("weight: 7", "weight: 70"),
        ("upper_threshold: 11", "upper_threshold: 12"),
        ("6081", "6082"),
        ("301", "302"),
        ("scheduler: sed", "scheduler: nq"),
    ];
    fixture.edit(&edits);
    // The spec requests another id for the live sync daemon, and a new service.
    let text = fixture.read("spec.yaml");
    let added = "  - { name: new, vip: 192.0.2.9, port: 80, drain: 0s, real_servers: [ { address: 10.0.0.9 } ] }\n";
    let text = format!("sync: [ {{ state: master, interface: eth0, id: 9 }} ]\n{text}");
    let (head, services) = text.split_once("\nservices:\n").unwrap();
    let head = head.replace("scope:\n  services:\n", "scope:\n  vips: [192.0.2.9]\n  services:\n");
    fixture.write("spec.yaml", format!("{head}\nservices:\n{added}{services}"));
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    fixture.assert_in_sync("spec.yaml");
    let said = fixture.tear_down("");
    assert!(said.contains("- delete service new/192.0.2.9:80/tcp"), "{said}");
    assert!(said.contains("  adopted, stays: sync daemon master\n"), "{said}");
    assert_eq!(table(), before);
}

/// Returns a spec of one service whose real servers have these last numbers and weights.
fn web(real_servers: &[(u8, u32)]) -> String {
    let real_server = |(last, weight): &(u8, u32)| {
        format!("      - {{ address: 10.0.0.{last}, weight: {weight} }}\n")
    };
    let all: String = real_servers.iter().map(real_server).collect();
    format!(
        "version: 1\nscope: all\nservices:\n  - name: web\n    vip: 192.0.2.1\n    port: 80\n    \
         drain: 2s\n    real_servers:\n{all}"
    )
}

const WEB: &str = "-A -t 192.0.2.1:80 -s wlc
    -a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1
    -a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 2";

#[test]
fn a_teardown_deletes_an_added_real_server_of_an_adopted_service() {
    let fixture = Fixture::expiring(WEB);
    let before = table();
    fixture.apply(&web(&[(1, 1), (2, 5), (3, 1)]));
    let answer = on_a_terminal(&fixture, "teardown", "y\n");
    assert_eq!(answer.status, 0, "{answer:?}");
    let said = answer.stdout.replace('\r', "");
    for words in [
        "~ drain real server 10.0.0.3:80 of web/192.0.2.1:80/tcp: weight 1 -> 0, for 2s at most",
        "- delete real server 10.0.0.3:80 of web/192.0.2.1:80/tcp",
        "~ edit real server 10.0.0.2:80 of web/192.0.2.1:80/tcp: weight 5 -> 2",
        "\n  adopted, stays: service web/192.0.2.1:80/tcp with 2 real servers\nPlan: ",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(table(), before);
}

#[test]
fn changes_by_another_program_are_kept_and_reported() {
    let fixture = Fixture::expiring(WEB);
    fixture.apply(&web(&[(1, 1), (2, 5)]));
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 9");
    let changed = table();
    let answer = fixture.evenkeel("teardown --yes");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.stdout.starts_with("Nothing to undo.\n"), "{answer:?}");
    let words = "real server 10.0.0.2:80 of web/192.0.2.1:80/tcp stays as it is: another program";
    assert!(answer.stderr.contains(words), "{answer:?}");
    assert_eq!(table(), changed);
}

#[test]
fn adopted_objects_are_deleted_on_request() {
    let fixture = Fixture::expiring(WEB);
    fixture.apply(&web(&[(1, 1), (2, 2)]));
    let said = fixture.tear_down("--adopted");
    assert!(said.contains("- delete service web/192.0.2.1:80/tcp with 2 real servers"), "{said}");
    assert_eq!(run("ipvsadm -Sn"), "");
}

#[test]
fn an_object_deleted_by_the_spec_is_evenkeels_when_listed_again() {
    let fixture = Fixture::expiring(WEB);
    fixture.apply(&web(&[(1, 1)]));
    fixture.apply(&web(&[(1, 1), (2, 2)]));
    fixture.tear_down("");
    assert_eq!(ipvsadm::save(), lines(WEB.rsplit_once('\n').unwrap().0));
}

#[test]
fn an_adopted_real_server_that_drains_accepts_clients_again() {
    let fixture = Fixture::new(
        "-A -u 192.0.2.1:53 -s wlc
        -a -u 192.0.2.1:53 -r 127.0.0.1:9 -m -w 3
        -a -u 192.0.2.1:53 -r 127.0.0.3:9 -m -w 1",
    );
    run("ip addr add 192.0.2.1/32 dev eth0");
    let before = run("ipvsadm -Sn");
    let clients: Vec<_> =
        (0..8).map(|_| std::net::UdpSocket::bind("127.0.0.2:0").unwrap()).collect();
    for client in &clients {
        client.send_to(b"?", "192.0.2.1:53").unwrap();
    }
    let spec = |all: &str| {
        format!(
            "version: 1\nscope: all\nservices:\n  - {{ name: dns, vip: 192.0.2.1, port: 53, \
             protocol: udp, forward: nat, drain: 1h, real_servers: [ {all} ] }}\n"
        )
    };
    let (one, other) =
        ("{ address: 127.0.0.1, port: 9, weight: 3 }", "{ address: 127.0.0.3, port: 9 }");
    fixture.apply(&spec(&format!("{one}, {other}")));
    fixture.write("spec.yaml", spec(other));
    let answer = fixture.evenkeel("apply --yes --no-wait spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(ipvsadm::save().contains("-a -u 192.0.2.1:53 -r 127.0.0.1:9 -m -w 0"));
    fixture.tear_down("");
    assert_eq!(run("ipvsadm -Sn"), before);
}

/// A real server that the kernel refuses after [`broadcast`]; no check of the spec can detect that.
const REFUSED: &str = "      - { address: 10.9.0.255, weight: 1 }\n";

fn broadcast() {
    run("ip route add broadcast 10.9.0.255 dev eth0 table local");
}

#[test]
fn objects_added_by_a_killed_apply_are_not_adopted() {
    let fixture = Fixture::expiring(WEB);
    broadcast();
    let before = table();
    fixture.write("spec.yaml", web(&[(1, 5), (2, 2), (3, 1)]) + REFUSED);
    let answer = fixture.evenkeel("apply --yes --on-failure keep spec.yaml");
    assert_ne!(answer.status, 0, "{answer:?}");
    assert!(run("ipvsadm -Sn").contains("10.0.0.3:80"), "{answer:?}");
    fixture.apply(&web(&[(1, 5), (2, 2), (3, 1)]));
    fixture.tear_down("");
    assert_eq!(table(), before);
}

#[test]
fn a_teardown_after_a_failed_apply_undoes_its_changes() {
    let fixture = Fixture::expiring(WEB);
    broadcast();
    let before = table();
    fixture.write("spec.yaml", web(&[(1, 1), (2, 2), (3, 1)]) + REFUSED);
    let answer = fixture.evenkeel("apply --yes --on-failure keep spec.yaml");
    assert_ne!(answer.status, 0, "{answer:?}");
    assert_ne!(table(), before);
    fixture.tear_down("");
    assert_eq!(table(), before);
}

#[test]
fn objects_are_recorded_again_after_a_rollback() {
    let fixture = Fixture::expiring(WEB);
    broadcast();
    fixture.write("spec.yaml", web(&[(1, 1), (2, 2), (3, 1)]) + REFUSED);
    assert_eq!(fixture.evenkeel("apply --yes spec.yaml").status, 4);
    // Meanwhile another program has added what that apply would have added.
    run("ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.3:80 -g -w 1");
    let before = table();
    fixture.apply(&web(&[(1, 1), (2, 2), (3, 1)]));
    let said = fixture.tear_down("");
    assert!(said.contains("with 3 real servers"), "{said}");
    assert_eq!(table(), before);
}

#[test]
fn partial_and_unconfirmed_applies_adopt_too() {
    let fixture = Fixture::expiring(WEB);
    let before = table();
    fixture.write("spec.yaml", web(&[(1, 1), (2, 9), (3, 1)]));
    fixture.done("apply --yes spec.yaml --target web");
    assert!(fixture.tear_down("").contains("adopted, stays: service web/"));
    assert_eq!(table(), before);
    let answer = fixture.evenkeel("apply --yes spec.yaml --confirm 1m");
    assert_eq!(answer.status, 0, "{answer:?}");
    fixture.done("confirm");
    fixture.tear_down("");
    assert_eq!(table(), before);
    // After the rollback the deleted object exists again, and still belongs to another program.
    fixture.apply(&web(&[(1, 1), (2, 2)]));
    fixture.write("spec.yaml", web(&[(1, 1)]));
    let answer = fixture.evenkeel("apply --yes spec.yaml --confirm 1m --allow cut-off");
    assert_eq!(answer.status, 0, "{answer:?}");
    fixture.done("confirm --abort");
    assert!(fixture.tear_down("").contains("with 2 real servers"));
    assert_eq!(ipvsadm::save(), lines(WEB));
}

#[test]
fn ignored_fields_keep_their_live_values() {
    let fixture = Fixture::expiring(WEB);
    let spec = web(&[(1, 1), (2, 2)]);
    let spec =
        spec.replace("    drain: 2s", "    ignore: [weight]\n    scheduler: wrr\n    drain: 2s");
    fixture.apply(&spec);
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 9");
    let said = fixture.tear_down("");
    assert!(said.contains("scheduler wrr -> wlc: applied\n"), "{said}");
    assert_eq!(ipvsadm::save(), lines(&WEB.replace("-w 2", "-w 9")));
}

#[test]
fn a_teardown_restores_the_order_of_real_servers() {
    let fixture = Fixture::expiring(&WEB.replace("wlc", "sh"));
    let before = run("cat /proc/net/ip_vs");
    let spec = web(&[(2, 2), (1, 1)]);
    let spec = spec
        .replace("    drain: 2s", "    canonical_order: true\n    scheduler: sh\n    drain: 0s");
    fixture.write("spec.yaml", spec);
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_ne!(run("cat /proc/net/ip_vs"), before);
    let answer = fixture.evenkeel("teardown --yes");
    assert!(answer.stderr.contains("to establish the earlier order"), "{answer:?}");
    assert_eq!(run("cat /proc/net/ip_vs"), before);
}
