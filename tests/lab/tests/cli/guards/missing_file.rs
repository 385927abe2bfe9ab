//! Tests the guard `missing-file`: a file of the active spec that is gone deletes nothing.

use super::*;

#[test]
fn a_missing_file_deletes_no_services_until_it_was_emptied() {
    let fixture = Fixture::expiring("");
    std::fs::create_dir(fixture.path().join("conf")).unwrap();
    fixture.write("conf/10-a.yaml", spec("scope: all\n", 5));
    let team = "services:\n  - { name: dns, vip: \"2001:db8::1\", port: 53, protocol: udp, real_servers: [ { address: \"2001:db8::2\" } ] }\n";
    fixture.write(
        "conf/20-b.yaml",
        format!("{team}vips:\n  - {{ address: \"2001:db8::1\", interface: eth0 }}\n"),
    );
    fixture.done("apply --yes conf");
    let before = everything();
    std::fs::remove_file(fixture.path().join("conf/20-b.yaml")).unwrap();
    let answer = fixture.evenkeel("apply --yes conf");
    assert_eq!(answer.status, 3, "{answer:?}");
    for words in [
        "guard missing-file: ",
        "20-b.yaml",
        "service dns/[2001:db8::1]:53/udp",
        "vip 2001:db8::1/128 on eth0",
    ] {
        assert!(answer.stderr.contains(words), "{words}: {answer:?}");
    }
    assert_eq!(everything(), before);
    // Another cluster's file in its place is refused as well.
    fixture.write("conf/20-b.yaml", team.replace("2001:db8::1", "2001:db8:9::1"));
    let answer = fixture.evenkeel("apply --yes conf");
    assert!(answer.status == 3 && answer.stderr.contains("guard missing-file: "), "{answer:?}");
    assert_eq!(everything(), before);
    // A renamed file is not missing.
    std::fs::remove_file(fixture.path().join("conf/20-b.yaml")).unwrap();
    fixture.write(
        "conf/30-dns.yaml",
        format!("{team}vips:\n  - {{ address: \"2001:db8::1\", interface: eth0 }}\n"),
    );
    fixture.done("apply --yes conf");
    // The file may be emptied in one change and removed in a later one.
    fixture.write("conf/30-dns.yaml", "services: []\n");
    fixture.done("apply --yes conf");
    assert_eq!(services(), 5);
    std::fs::remove_file(fixture.path().join("conf/30-dns.yaml")).unwrap();
    fixture.done("apply --yes conf");
}
