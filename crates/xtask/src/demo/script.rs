//! The demo's scenes. Each checks what it shows, so that the demo cannot show something false.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use evenkeel_lab::net::{Forward, Host, Topology};
use serde_json::{Value, json};

use super::diagram::{DrawnHost, draw};
use super::stage::{Stage, mac, neighbour, state};
use crate::error::Error;

const SPEC: &str = "/tmp/demo/cluster.yaml";
const PORT_MAP: &str = "/tmp/demo/port-map.yaml";
const CLIENT: &str = "192.168.56.10";
const VIP: &str = "192.168.56.185";
const REQUESTS: usize = 12;
/// The exit status of a bad spec.
const BAD_SPEC: i32 = 65;

const TEXT: &str = "\
version: 1
directors:
  - { name: ds1, addresses: [192.168.56.182] }
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
sysctls: { net.ipv4.vs.expire_nodest_conn: 1 }
...
";

/// Runs all scenes in a network of its own; the first failing check ends it.
pub(super) fn play(evenkeel: &Path) -> Result<(), Error> {
    section("A client, a director and two real servers on one network: addresses and links only");
    let stage = Stage { evenkeel, network: network().build_bare()? };
    let before = stage.hosts().map(state).collect::<Result<Vec<_>, _>>()?;
    print!("{}", diagram(&stage)?);

    section("One file for all hosts");
    write(SPEC, TEXT)?;
    print!("{TEXT}");

    section("What each host gets");
    let director = &stage.network.director;
    stage.show_evenkeel(director, &["plan", "--all-hosts", SPEC])?;

    section("Applied on each host, which finds its role by its addresses");
    for host in stage.hosts() {
        stage.show_evenkeel(host, &["apply", "--yes", SPEC])?;
        println!();
    }
    print!("{}", diagram(&stage)?);

    traffic(&stage)?;
    change_a_weight(&stage)?;
    refuse_a_port_map(&stage)?;
    leave(&stage)?;

    section("Torn down on each host");
    for (host, before) in stage.hosts().zip(before) {
        stage.show_evenkeel(host, &["teardown", "--yes"])?;
        let is_as_before = state(host)? == before;
        claim(
            is_as_before,
            "IPv4 addresses, routes and sysctls, and the IPVS table, are as before",
        )?;
        println!();
    }
    print!("{}", diagram(&stage)?);

    println!("\nEverything shown was also checked.");
    Ok(())
}

fn traffic(stage: &Stage<'_>) -> Result<(), Error> {
    let director = &stage.network.director;
    section("12 requests through the VIP");
    stage.show(director, "ipvsadm", &["-Ln"])?;
    let answers = stage.requests(address(), REQUESTS)?;
    let alternates = answers.windows(2).all(|pair| pair[0] != pair[1]);
    claim(alternates, "requests alternate strictly between rs1 and rs2")?;
    let is_directors = neighbour(&stage.network.client, VIP)? == mac(director)?;
    claim(
        is_directors,
        "of the three hosts with the VIP, only ds1 answers the client's ARP request",
    )
}

fn change_a_weight(stage: &Stage<'_>) -> Result<(), Error> {
    let director = &stage.network.director;
    section("The weight of rs1 goes from 1 to 2 in the file: the new plans");
    write(SPEC, &heavier())?;
    for host in stage.hosts() {
        stage.show_evenkeel(host, &["plan", SPEC])?;
    }
    let plan = stage.evenkeel(director, &["plan", "--output", "json", SPEC])?.stdout;
    claim(
        is_one_edit_of_a_weight(&plan, "192.168.56.183", 1, 2),
        "the director's plan is one edit and nothing else",
    )?;

    section("Applied");
    stage.show_evenkeel(director, &["apply", "--yes", SPEC])?;
    stage.show(director, "ipvsadm", &["-Ln"])?;

    section("12 more requests");
    let answers = stage.requests(address(), REQUESTS)?;
    let to_rs1 = answers.iter().filter(|name| *name == "rs1").count();
    claim(to_rs1 == 8, "rs1 answers 8 of 12")
}

fn refuse_a_port_map(stage: &Stage<'_>) -> Result<(), Error> {
    section("A port map in DR mode is asked for");
    write(PORT_MAP, &TEXT.replace("192.168.56.183, weight", "192.168.56.183, port: 8080, weight"))?;
    let director = &stage.network.director;
    println!("{}$ evenkeel validate {PORT_MAP}", director.name());
    let refused = stage.evenkeel(director, &["validate", PORT_MAP])?;
    print!("{}{}", refused.stdout, refused.stderr);
    claim(refused.status == Some(BAD_SPEC), "it is refused with exit status 65")?;
    let names_place = refused.stderr.contains(&format!("{PORT_MAP}:13:"));
    claim(names_place, "the error names the line")
}

fn leave(stage: &Stage<'_>) -> Result<(), Error> {
    let director = &stage.network.director;
    let rs2 = stage.network.real_servers.last().ok_or_else(|| Error::Claim("no rs2".to_owned()))?;
    let has_vip = || -> Result<bool, Error> { Ok(DrawnHost::of(rs2, VIP)?.vip.is_some()) };

    section("rs2 is removed from the file, and applies that before the director does");
    let text = heavier();
    let fewer: Vec<&str> = text.lines().filter(|line| !line.ends_with("# rs2")).collect();
    write(SPEC, &(fewer.join("\n") + "\n"))?;
    stage.show_evenkeel(rs2, &["apply", "--yes", "--no-wait", SPEC])?;
    let answers = stage.requests(address(), REQUESTS)?;
    claim(answers.iter().any(|name| name == "rs2"), "the director still sends clients to rs2")?;
    claim(has_vip()?, "rs2 has kept the VIP, so every request was answered")?;

    section("The director applies it, too");
    stage.show_evenkeel(director, &["apply", "--yes", SPEC])?;
    let answers = stage.requests(address(), REQUESTS)?;
    claim(answers.iter().all(|name| name == "rs1"), "rs1 answers all of them")?;
    stage.show_evenkeel(rs2, &["plan", SPEC])?;
    claim(has_vip()?, "rs2 keeps the VIP until the director's drain must have ended")
}

fn network() -> Topology {
    Topology {
        forward: Forward::Dr,
        vips: vec![address().ip()],
        client: Host::new("client", &[&format!("{CLIENT}/24")]),
        director: Host::new("ds1", &["192.168.56.182/24"]),
        real_servers: vec![
            Host::new("rs1", &["192.168.56.183/24"]),
            Host::new("rs2", &["192.168.56.184/24"]),
        ],
        ports: vec![80],
    }
}

fn address() -> SocketAddr {
    SocketAddr::new(IpAddr::from([192, 168, 56, 185]), 80)
}

fn diagram(stage: &Stage<'_>) -> Result<String, Error> {
    let hosts =
        stage.hosts().map(|host| DrawnHost::of(host, VIP)).collect::<Result<Vec<_>, _>>()?;
    Ok(draw(&format!("client {CLIENT}"), &hosts))
}

/// The spec with another weight of rs1.
fn heavier() -> String {
    TEXT.replace("192.168.56.183, weight: 1", "192.168.56.183, weight: 2")
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
