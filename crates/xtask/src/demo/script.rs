//! The demo's scenes. Each checks what it shows, so that the demo cannot show something false.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use evenkeel_lab::net::{Forward, Host, Network, Topology};
use serde_json::{Value, json};

use crate::error::Error;

const SPEC: &str = "/tmp/demo/dr.yaml";
const PORT_MAP: &str = "/tmp/demo/port-map.yaml";
const VIP: &str = "192.168.56.185";
const REQUESTS: usize = 12;
/// The exit status of a bad spec.
const BAD_SPEC: i32 = 65;

const TEXT: &str = "\
version: 1
vips:
  - { address: 192.168.56.185, interface: eth0 }
services:
  - name: web
    vip: 192.168.56.185
    port: 80
    scheduler: wrr
    forward: dr
    real_servers:
      - { address: 192.168.56.183, weight: 1 }   # rs1
      - { address: 192.168.56.184, weight: 1 }   # rs2
";

/// Runs all scenes in a network of its own; the first failing check ends it.
pub(super) fn play(evenkeel: &Path) -> Result<(), Error> {
    section("A client, a director and two real servers on one bridge");
    println!(
        "client 192.168.56.10   ds1 192.168.56.182   rs1 192.168.56.183   rs2 192.168.56.184\n\
         The VIP {VIP} is on lo of rs1 and rs2, silent to ARP (arp_ignore 1, arp_announce 2)."
    );
    let network = network().build()?;
    let stage = Stage { evenkeel, network };

    section("The spec");
    let rs1 = "192.168.56.183, weight: ";
    write(SPEC, TEXT)?;
    print!("{TEXT}");

    section("The plan, from an empty table");
    stage.show_evenkeel(&["plan", SPEC])?;

    section("Applied");
    stage.show_evenkeel(&["apply", "--yes", SPEC])?;

    section("What Debian's own ipvsadm sees");
    stage.show("ipvsadm", &["-Ln"])?;

    section("12 requests through the VIP");
    let answers = stage.requests()?;
    let alternates = answers.windows(2).all(|pair| pair[0] != pair[1]);
    claim(alternates, "requests alternate strictly between rs1 and rs2")?;

    section("The weight of rs1 goes from 1 to 2 in the file: the new plan");
    write(SPEC, &TEXT.replace(&format!("{rs1}1"), &format!("{rs1}2")))?;
    stage.show_evenkeel(&["plan", SPEC])?;
    let plan = stage.evenkeel(&["plan", "--output", "json", SPEC])?.stdout;
    claim(
        is_one_edit_of_a_weight(&plan, "192.168.56.183", 1, 2),
        "the plan is one edit and nothing else",
    )?;

    section("Applied");
    stage.show_evenkeel(&["apply", "--yes", SPEC])?;
    stage.show("ipvsadm", &["-Ln"])?;

    section("12 more requests");
    let answers = stage.requests()?;
    let to_rs1 = answers.iter().filter(|name| *name == "rs1").count();
    claim(to_rs1 == 8, "rs1 answers 8 of 12")?;

    section("A port map in DR mode is asked for");
    write(PORT_MAP, &TEXT.replace(&format!("{rs1}1"), "192.168.56.183, port: 8080, weight: 1"))?;
    println!("$ evenkeel validate {PORT_MAP}");
    let refused = stage.evenkeel(&["validate", PORT_MAP])?;
    print!("{}{}", refused.stdout, refused.stderr);
    claim(refused.status == Some(BAD_SPEC), "it is refused with exit status 65")?;
    let names_place = refused.stderr.contains(&format!("{PORT_MAP}:11:"));
    claim(names_place, "the error names the line")?;

    println!("\nEverything shown was also checked.");
    Ok(())
}

fn network() -> Topology {
    Topology {
        forward: Forward::Dr,
        vips: vec![address().ip()],
        client: Host::new("client", &["192.168.56.10/24"]),
        director: Host::new("ds1", &["192.168.56.182/24"]),
        real_servers: vec![
            Host::new("rs1", &["192.168.56.183/24"]),
            Host::new("rs2", &["192.168.56.184/24"]),
        ],
        ports: vec![80],
    }
}

fn address() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::from([192, 168, 56, 185]), 80)
}

/// The network and the evenkeel program.
struct Stage<'a> {
    evenkeel: &'a Path,
    network: Network,
}

/// The exit status and output of a program.
struct Ended {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Stage<'_> {
    /// Runs evenkeel on the director.
    fn evenkeel(&self, arguments: &[&str]) -> Result<Ended, Error> {
        let output =
            self.network.director.try_output(&self.evenkeel.to_string_lossy(), arguments)?;
        Ok(Ended {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs evenkeel on the director, shows its output and requires success.
    fn show_evenkeel(&self, arguments: &[&str]) -> Result<(), Error> {
        let line = format!("evenkeel {}", arguments.join(" "));
        println!("$ {line}");
        let ended = self.evenkeel(arguments)?;
        print!("{}{}", ended.stdout, ended.stderr);
        if ended.status == Some(0) { Ok(()) } else { Err(Error::Failed(line)) }
    }

    /// Runs another program on the director and shows its output.
    fn show(&self, program: &str, arguments: &[&str]) -> Result<(), Error> {
        println!("$ {program} {}", arguments.join(" "));
        print!("{}", self.network.director.output(program, arguments)?);
        Ok(())
    }

    /// Sends requests from the client and shows which real servers answered.
    fn requests(&self) -> Result<Vec<String>, Error> {
        let answers = self.network.ask(address(), REQUESTS)?;
        println!("{}", answers.join(" "));
        for name in ["rs1", "rs2"] {
            let count = answers.iter().filter(|answer| *answer == name).count();
            println!("{name}: {count} of {REQUESTS}");
        }
        Ok(answers)
    }
}

fn section(title: &str) {
    println!("\n=== {title}\n");
}

/// Prints a claim, or fails if it does not hold.
fn claim(holds: bool, what: &str) -> Result<(), Error> {
    if holds {
        println!("ok: {what}");
        Ok(())
    } else {
        Err(Error::Claim(format!("this does not hold: {what}")))
    }
}

fn write(path: &str, text: &str) -> Result<(), Error> {
    let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| Error::Claim(format!("cannot write {path}: {error}")))
}

/// Whether a plan, as JSON, changes only the weight of one real server.
fn is_one_edit_of_a_weight(plan: &str, address: &str, before: u32, after: u32) -> bool {
    let Ok(plan) = serde_json::from_str::<Value>(plan) else { return false };
    let steps = plan["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [step] = steps else { return false };
    let weight = json!([{ "field": "weight", "before": before, "after": after }]);
    step["verb"] == "edit"
        && step["object"] == "real server"
        && step["real_server"]["address"] == address
        && step["changes"] == weight
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(changes: &str) -> String {
        format!(
            r#"{{"verb": "edit", "object": "real server",
                 "real_server": {{"address": "10.0.0.1", "port": 80}}, "changes": {changes}}}"#
        )
    }

    #[test]
    fn one_edit_of_one_weight_and_nothing_else_is_recognised() {
        let weight = edit(r#"[{"field": "weight", "before": 1, "after": 2}]"#);
        let is = |steps: &str| {
            is_one_edit_of_a_weight(&format!(r#"{{"steps": [{steps}]}}"#), "10.0.0.1", 1, 2)
        };
        assert!(is(&weight));
        assert!(!is(""));
        assert!(!is(&format!("{weight}, {weight}")));
        assert!(!is(&edit(r#"[{"field": "weight", "before": 1, "after": 3}]"#)));
        assert!(!is(&weight.replace("10.0.0.1", "10.0.0.2")));
        assert!(!is_one_edit_of_a_weight("", "10.0.0.1", 1, 2));
    }
}
