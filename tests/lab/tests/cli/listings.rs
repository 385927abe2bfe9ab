//! Compares the listings of `evenkeel show` with those of `ipvsadm`, for every kind of service.

use std::net::TcpListener;

use evenkeel_lab_tests::ipvsadm::{Numbers, numbers};
use serde_json::Value;

use super::*;
use crate::local_traffic::{add_to_lo, connect, send_datagrams, send_sctp, settled};

const RULES: &str = "\
    -A -t 192.0.2.1:80 -s wrr -p 60
    -a -t 192.0.2.1:80 -r 127.0.0.1:8080 -m -w 2 -x 100 -y 50
    -a -t 192.0.2.1:80 -r 198.51.100.1:80 -g -w 0
    -A -u 192.0.2.1:53 -s rr
    -a -u 192.0.2.1:53 -r 127.0.0.1:9 -m -w 5
    -A --sctp-service 192.0.2.1:2905 -s wlc
    -a --sctp-service 192.0.2.1:2905 -r 127.0.0.1:2906 -m -x 7000
    -A -t [2001:db8::1]:80 -s rr -p 120
    -a -t [2001:db8::1]:80 -r [2001:db8::11]:8080 -m -x 9 -y 3
    -A -u [2001:db8::1]:53 -s rr
    -a -u [2001:db8::1]:53 -r [2001:db8::11]:9 -m -w 3
    -A --sctp-service [2001:db8::1]:2905 -s rr
    -a --sctp-service [2001:db8::1]:2905 -r [2001:db8::11]:2906 -m
    -A -f 7 -s rr -p 60
    -a -f 7 -r 127.0.0.1:9 -m -x 800
    -A -f 7 -6 -s sh
    -a -f 7 -6 -r [2001:db8::11]:9 -m -w 4";

/// A table with traffic through every service; the connections last as long as this.
struct Busy {
    fixture: Fixture,
    _open: Vec<std::net::TcpStream>,
}

fn busy() -> Busy {
    let fixture = Fixture::new(RULES);
    add_to_lo(&["192.0.2.1/32", "192.0.2.9/32", "2001:db8::1/128", "2001:db8::9/128"]);
    add_to_lo(&["2001:db8::11/128"]);
    let four = TcpListener::bind("127.0.0.1:8080").unwrap();
    let six = TcpListener::bind("[2001:db8::11]:8080").unwrap();
    let mut open = connect("192.0.2.1:80", &four, 3);
    open.extend(connect("[2001:db8::1]:80", &six, 2));
    more_traffic();
    Busy { fixture, _open: open }
}

fn more_traffic() {
    send_datagrams("192.0.2.1:53", 0, 300, 100);
    send_datagrams("[2001:db8::1]:53", 0, 200, 50);
    send_datagrams("192.0.2.9:1000", 7, 100, 10);
    send_datagrams("[2001:db8::9]:1000", 7, 100, 20);
    send_sctp("192.0.2.1:2905", 80);
    send_sctp("[2001:db8::1]:2905", 60);
}

/// The number columns of a text of `evenkeel show`, from that one on; services without numbers are
/// left out.
fn shown(text: &str, first: usize) -> Numbers {
    let mut all = Numbers::new();
    let mut service = "";
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, cells) = match words[..] {
            ["->", real_server, ref cells @ ..] => (format!("{service} {real_server}"), cells),
            [name, ref cells @ ..] => {
                service = name;
                (name.to_owned(), cells)
            }
            [] => panic!("an empty line"),
        };
        let numbers: Option<Vec<u64>> =
            cells.iter().skip(first).map(|cell| cell.parse().ok()).collect();
        if let Some(numbers) = numbers.filter(|it| !it.is_empty()) {
            all.insert(name, numbers);
        }
    }
    all
}

/// The numbers of a document, with what these functions take from a service and a real server.
fn documented(
    text: &str,
    of_service: impl Fn(&Value) -> Option<Vec<&Value>>,
    of_real_server: impl Fn(&Value) -> Vec<&Value>,
) -> Numbers {
    let document: Value = serde_json::from_str(text).unwrap();
    assert_eq!(document["format"], 1);
    let values = |all: Vec<&Value>| all.into_iter().map(|it| it.as_u64().unwrap()).collect();
    let mut all = Numbers::new();
    for service in document["services"].as_array().unwrap() {
        let name = service["service"].as_str().unwrap();
        all.extend(of_service(service).map(|found| (name.to_owned(), values(found))));
        for real_server in service["real_servers"].as_array().unwrap() {
            let address: std::net::IpAddr =
                real_server["address"].as_str().unwrap().parse().unwrap();
            let port = u16::try_from(real_server["port"].as_u64().unwrap()).unwrap();
            let address = std::net::SocketAddr::new(address, port);
            all.insert(format!("{name} {address}"), values(of_real_server(real_server)));
        }
    }
    all
}

const COUNTERS: [&str; 5] = ["connections", "packets_in", "packets_out", "bytes_in", "bytes_out"];

fn counters(of: &Value) -> Vec<&Value> {
    COUNTERS.iter().map(|name| &of[name]).collect()
}

/// What is read between two equal readings of `ipvsadm` in which each service has traffic, and that
/// reading.
fn between_equal<T>(option: &str, mut read: impl FnMut() -> T) -> (T, Numbers) {
    settled(|| {
        let before = numbers(option);
        let services = before.iter().filter(|(name, _)| !name.contains(' '));
        if !services.clone().all(|(_, row)| row[1] > 0 && row[3] > 0) {
            // Rates fade.
            more_traffic();
            return Err(format!("no traffic: {before:?}"));
        }
        assert_eq!(services.count(), 8);
        let found = read();
        let after = numbers(option);
        if before == after { Ok((found, after)) } else { Err(format!("{before:?} {after:?}")) }
    })
}

#[test]
fn counters_are_those_of_ipvsadm_for_every_kind_of_service() {
    let Busy { fixture, _open } = busy();
    let show = |arguments: &str| fixture.done(&format!("show {arguments}"));
    let ((text, short, document), expected) = between_equal("--stats --exact", || {
        (show("--stats --exact"), show("--stats"), show("--output json"))
    });
    assert_eq!(shown(&text, 0), expected, "{text}");
    assert_eq!(short, text, "no number is large");
    let found = documented(
        &document,
        |service| Some(counters(&service["traffic"])),
        |real_server| counters(&real_server["statistics"]["traffic"]),
    );
    assert_eq!(found, expected);
    assert_eq!(expected["192.0.2.1:80/tcp"][0], 3);
    assert_eq!(expected["192.0.2.1:2905/sctp"][0], 80);
    assert_eq!(expected["192.0.2.1:80/tcp 198.51.100.1:80"], [0; 5]);
    let only = show("--stats --target fwmark-7/ipv6");
    assert_eq!(shown(&only, 0).len(), 2, "{only}");
}

#[test]
fn rates_are_those_of_ipvsadm_for_every_kind_of_service() {
    let Busy { fixture, _open } = busy();
    // The TCP connections send nothing any more, so their rates may be 0.
    let ((text, document), expected) = settled(|| {
        let before = numbers("--rate --exact");
        let busy = |name: &str| before[name][1] > 0 && before[name][3] > 0;
        let without_tcp =
            before.keys().filter(|name| !name.contains(' ') && !name.ends_with("tcp"));
        if !without_tcp.clone().all(|name| busy(name)) {
            more_traffic();
            return Err(format!("no traffic: {before:?}"));
        }
        assert_eq!(without_tcp.count(), 6);
        let found = (fixture.done("show --rates --exact"), fixture.done("show --output json"));
        let after = numbers("--rate --exact");
        if before == after { Ok((found, after)) } else { Err("they changed".to_owned()) }
    });
    assert_eq!(shown(&text, 0), expected, "{text}");
    let found = documented(
        &document,
        |service| Some(counters(&service["traffic"]["rates"])),
        |real_server| counters(&real_server["statistics"]["traffic"]["rates"]),
    );
    assert_eq!(found, expected);
}

#[test]
fn thresholds_and_persistence_entries_are_those_of_ipvsadm() {
    let Busy { fixture, _open } = busy();
    let document = fixture.done("show --output json");
    let of_document = |names: [&'static str; 4]| {
        documented(
            &document,
            |_| None,
            |real_server| {
                let find = |name: &str| match real_server.get(name) {
                    Some(value) => value,
                    None => &real_server["statistics"][name],
                };
                names.iter().map(|name| find(name)).collect()
            },
        )
    };
    let picked = |text: &str, columns: [usize; 4]| -> Numbers {
        let rows = shown(text, 1).into_iter();
        rows.map(|(name, row)| (name, columns.map(|column| row[column]).to_vec())).collect()
    };
    let connections = ["active_connections", "inactive_connections"];

    // Weight, active, inactive, upper, lower.
    let text = fixture.done("show --thresholds");
    let expected = numbers("--thresholds");
    assert_eq!(picked(&text, [3, 4, 1, 2]), expected, "{text}");
    let [active, inactive] = connections;
    let found = of_document(["upper_threshold", "lower_threshold", active, inactive]);
    assert_eq!(found, expected);
    assert_eq!(expected["192.0.2.1:80/tcp 127.0.0.1:8080"], [100, 50, 3, 0]);

    // Weight, active, inactive, persistent.
    let text = fixture.done("show --persistent");
    let expected = numbers("--persistent-conn");
    assert_eq!(picked(&text, [0, 3, 1, 2]), expected, "{text}");
    assert_eq!(of_document(["weight", "persistent_connections", active, inactive]), expected);
    assert_eq!(expected["[2001:db8::1]:80/tcp [2001:db8::11]:8080"][1], 1);

    let text = fixture.done("show --thresholds --persistent --stats --rates");
    assert_eq!(shown(&text, 0)["192.0.2.1:80/tcp 127.0.0.1:8080"].len(), 13, "{text}");
}

#[test]
fn large_counters_are_shortened_as_ipvsadm_shortens_them() {
    let fixture = Fixture::new("-A -u 192.0.2.1:53 -s rr\n-a -u 192.0.2.1:53 -r 127.0.0.1:9 -m");
    add_to_lo(&["192.0.2.1/32"]);
    // 102 million bytes, of which ipvsadm shows the thousands.
    send_datagrams("192.0.2.1:53", 0, 1_700, 60_000);
    let words = |text: &str| -> Vec<Vec<String>> {
        let lines = text.lines().filter(|line| line.contains(":53") || line.contains(":9 "));
        let numbers =
            |line: &str| line.split_whitespace().rev().take(5).map(str::to_owned).collect();
        lines.map(numbers).collect()
    };
    let listed = settled(|| {
        let listed = words(&run("ipvsadm -Ln --stats"));
        if listed.concat().iter().any(|word| word.ends_with('K')) {
            Ok(listed)
        } else {
            Err(format!("{listed:?}"))
        }
    });
    let text = fixture.done("show --stats");
    assert_eq!(words(&text), listed, "{text}");
    let exact = fixture.done("show --stats --exact");
    assert_eq!(words(&exact), words(&run("ipvsadm -Ln --stats --exact")), "{exact}");
    assert_ne!(exact, text);
}

#[test]
fn timeouts_and_sync_daemons_are_those_of_ipvsadm() {
    evenkeel_lab_tests::fresh_host();
    let fixture = Fixture::here();
    assert_eq!(fixture.done("show --sync").lines().count(), 1, "a heading and nothing else");
    run("ipvsadm --set 7200 30 61");
    run("ipvsadm --start-daemon master --mcast-interface eth0 --syncid 7 --mcast-ttl 3");
    run("ipvsadm --start-daemon backup --mcast-interface eth0 --syncid 9 --mcast-group ff02::51 \
         --mcast-port 9000 --sync-maxlen 1400");

    let rows = |text: &str| -> Vec<Vec<String>> {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text.lines().skip(1).map(words).collect()
    };
    let text = fixture.done("show --timeouts");
    let values: Vec<String> = rows(&text).into_iter().map(|row| row[1].clone()).collect();
    let expected = run("ipvsadm -L --timeout");
    assert_eq!(expected.trim(), format!("Timeout (tcp tcpfin udp): {}", values.join(" ")));

    let text = fixture.done("show --sync");
    let listed: String = rows(&text)
        .into_iter()
        .map(|row| {
            let [state, interface, id, length, group, port, ttl] = &row[..] else {
                panic!("{text}")
            };
            format!(
                "{state} sync daemon (mcast={interface}, syncid={id}, maxlen={length}, \
                 group={group}, port={port}, ttl={ttl})\n"
            )
        })
        .collect();
    assert_eq!(listed, run("ipvsadm -L --daemon"));
    assert_eq!(listed.lines().count(), 2);

    let both = fixture.done("show --timeouts --sync");
    assert_eq!(both, format!("{}\n{text}", fixture.done("show --timeouts")));
    let document: Value = serde_json::from_str(&fixture.done("show --output json")).unwrap();
    assert_eq!(document["timeouts"], serde_json::json!({ "tcp": 7200, "tcp_fin": 30, "udp": 61 }));
    let backup = &document["sync"]["backup"];
    assert_eq!((&backup["group"], &backup["port"]), (&"ff02::51".into(), &9000.into()));
    assert_eq!(document["sync"]["master"]["ttl"], 3);
}
