//! Tests the guard `no-server`: a service that stays keeps a usable real server.

use super::*;

#[test]
fn a_service_that_loses_its_last_server_is_refused_until_it_is_allowed() {
    let two = "{ address: 10.0.0.1, weight: 10 }, { address: 10.0.0.2 }";
    for (left, weights) in [
        ("", vec![]),
        ("{ address: 10.0.0.1, weight: 0 }", vec!["10.0.0.1:80 -m -w 0"]),
        (
            "{ address: 10.0.0.2, weight: 0 }, { address: 10.0.0.3, weight: 0 }",
            vec!["10.0.0.2:80 -m -w 0", "10.0.0.3:80 -m -w 0"],
        ),
    ] {
        let fixture = Fixture::expiring("");
        fixture.apply(&web("", two));
        fixture.write("spec.yaml", web("", left));
        assert_holds(
            &fixture,
            "no-server",
            "web/192.0.2.1:80/tcp would have no real server with a positive weight left (2 now) and \
             refuse all clients; list one with a positive weight, or remove it from the spec",
        );
        yields(&fixture, "no-server");
        let mut expected = lines("-A -t 192.0.2.1:80 -s wlc");
        expected.extend(weights.iter().map(|it| format!("-a -t 192.0.2.1:80 -r {it}")));
        assert_eq!(ipvsadm::save(), expected);
        // A service without a usable real server cannot lose one.
        fixture.apply(&web("", "{ address: 10.0.0.4, weight: 0 }"));
    }
}

#[test]
fn a_service_whose_only_usable_server_is_removed_is_refused_although_the_spec_gives_others_weight()
{
    let fixture = Fixture::expiring("");
    let spec = |list: &str| web("", list).replace("forward: nat", "forward: nat, ignore: [weight]");
    fixture.apply(&spec("{ address: 10.0.0.1 }, { address: 10.0.0.2 }"));
    // A health checker set this one to weight 0.
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0");
    fixture.write("spec.yaml", spec("{ address: 10.0.0.1 }"));
    assert_holds(
        &fixture,
        "no-server",
        "web/192.0.2.1:80/tcp would have no real server with a positive weight left (1 now) and \
         refuse all clients; list one with a positive weight, or remove it from the spec",
    );
    yields(&fixture, "no-server");
}
