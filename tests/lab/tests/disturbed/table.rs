//! Changes the table as another program would, in scope, with `ipvsadm`.

use std::process::{Command, Stdio};

use evenkeel_lab_tests::dice::TestRng;

use super::specs::VIP;

/// Makes one change, and returns whether it was made: the daemon may have changed the entry first.
pub(crate) fn break_one(rng: &mut TestRng) -> bool {
    let Some(saved) = ipvsadm(&["-Sn".to_owned()]) else { return false };
    let lines: Vec<&str> = saved.lines().filter(|line| is_in_scope(line)).collect();
    if lines.is_empty() {
        return false;
    }
    let words: Vec<&str> = rng.one_of(&lines).split_whitespace().collect();
    ipvsadm(&breach(&words, rng)).is_some()
}

fn is_in_scope(line: &str) -> bool {
    !line.contains(" 203.0.113.")
}

/// Returns a damaging change of a line of `ipvsadm -Sn`.
fn breach(words: &[&str], rng: &mut TestRng) -> Vec<String> {
    let is_after_name = |word: &&str| matches!(*word, "-s" | "-r");
    let name_end = words.iter().position(is_after_name).unwrap_or(words.len());
    let name = words[1..name_end].join(" ");
    let weight = rng.below(9);
    let scheduler = rng.one_of(&["rr", "wrr", "wlc", "sed"]);
    let text = match (words[0], words.get(name_end + 1)) {
        ("-a", Some(real_server)) => match rng.below(3) {
            0 => format!("-d {name} -r {real_server}"),
            1 => format!("-e {name} -r {real_server} -g -w {weight}"),
            _ => format!("-e {name} -r {real_server} -m -w 1"),
        },
        _ => match rng.below(6) {
            0 => format!("-D {name}"),
            1 => format!("-E {name} -s {scheduler}"),
            2 => format!("-E {name} -s {scheduler} -p 77"),
            3 if !name.contains('[') => format!("-a {name} -r 10.0.0.66 -g -w {weight}"),
            4 => format!("-A -f {} -s {scheduler}", rng.between(50, 60)),
            _ => format!("-A -t {VIP}:{} -s {scheduler}", rng.between(9000, 9010)),
        },
    };
    text.split_whitespace().map(str::to_owned).collect()
}

/// Runs `ipvsadm` and returns its output, or `None` if it fails, as the daemon may have changed the
/// entry first.
fn ipvsadm(arguments: &[String]) -> Option<String> {
    let output = Command::new("ipvsadm").args(arguments).stdin(Stdio::null()).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}
