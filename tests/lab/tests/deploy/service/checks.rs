//! Programs of `exec` health checks under the unit, with its drop-in and without.

use std::os::unix::fs::PermissionsExt;

use super::*;

const CHECKED: &str = "version: 1
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    scheduler: wrr
    check: { exec: { argv: [probe] }, interval: 500ms, fast: 100ms, timeout: 4s, rise: 1, fall: 1 }
    health: { when_none: refuse }
    real_servers: [{ address: 192.0.2.11, weight: 5 }]
";

/// Passes only as the user for checks, without capabilities, and if the file asks for it.
const PROBE: &str = r#"#!/bin/sh
[ "$(id -u) $(id -g) $(id -G)" = '4711 4711 4711' ] || exit 10
grep -q '^CapPrm:.0000000000000000$' /proc/self/status || exit 11
[ "$EVENKEEL_ADDRESS $EVENKEEL_PORT" = '192.0.2.11 80' ] || exit 12
case $(cat /etc/evenkeel/state) in
  up) exit 0 ;;
  hangs) trap '' TERM; sleep 4242 & sleep 4242 ;;
esac
exit 1
"#;

fn director(more: &str) -> Director {
    let director = Director::new(CHECKED, more);
    let programs = director.path("spec/checks.d");
    fs::create_dir(&programs).expect("a folder");
    fs::write(programs.join("probe"), PROBE).expect("a program");
    for path in [director.path("spec"), programs.clone(), programs.join("probe")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    director.say("up");
    director.done("start evenkeel.service");
    director
}

impl Director {
    fn say(&self, word: &str) {
        fs::write(self.path("spec/state"), word).expect("a file");
    }

    #[track_caller]
    fn wait_for_weight(&self, weight: u32) {
        let row = format!("-a -t 192.0.2.1:80 -r 192.0.2.11:80 -g -w {weight}\n");
        self.wait_for(&row, |_| run("ipvsadm -Sn").ends_with(&row));
    }
}

#[test]
fn programs_run_as_a_user_of_their_own_with_the_drop_in() {
    let drop_in = fs::read_to_string(deploy().join("evenkeel-checks.conf")).expect("the drop-in");
    let director = director(&drop_in);
    director.wait_for_weight(5);
    director.say("down");
    director.wait_for_weight(0);
    director.say("up");
    director.wait_for_weight(5);
    director.say("hangs");
    director.wait_for_weight(0);
    director.say("up");
    director.wait_for_weight(5);
    director.wait_for("the end of programs at their deadline", |_| {
        processes().iter().all(|(_, line)| !line.contains("sleep\x004242"))
    });
    director.done("stop evenkeel.service");
    assert_eq!(director.property("Result"), "success");
}

#[test]
fn without_the_drop_in_their_results_are_unknown() {
    let director = director("");
    let unknown = |text: &str| {
        let line = text.lines().find(|it| it.contains("result=\"unknown\""));
        line.and_then(|it| it.rsplit(' ').next()?.parse::<f64>().ok()).is_some_and(|it| it > 1.0)
    };
    director.wait_for("results", |_| {
        unknown(&run("curl --silent --retry 10 --retry-connrefused --max-time 60 http://127.0.0.1:9479/metrics"))
    });
    director.wait_for_weight(0);
}
