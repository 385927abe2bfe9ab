//! Holds the client against the real kernel of this network namespace, which it changes: run it
//! in one made for the purpose, with `lo` up.
//!
//! `ipvs_check table` puts up a table with every kind of entry, reads it back and compares;
//! `refusals` provokes each refusal; `unpermitted` and `absent` expect their errors; `bench
//! SERVICES DESTINATIONS` measures in an empty namespace.
#![allow(clippy::print_stdout)]

use std::error::Error as StdError;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use evenkeel_ipvs::{
    Client, Command, Destination, DestinationKey, Error, Family, Interrupted, Name, Netmask,
    Reason, Service, ServiceKey, Tunnel, flags, forward, modules, protocol, tunnel_flags,
    tunnel_kind,
};

type Outcome = Result<(), Box<dyn StdError>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["table"] => table(),
        ["refusals"] => refusals(),
        ["unpermitted"] => unpermitted(),
        ["absent"] => absent(),
        ["bench", services, destinations] => bench(services.parse()?, destinations.parse()?),
        _ => Err("usage: ipvs_check table|refusals|unpermitted|absent|bench N M".into()),
    }
}

fn service(address: &str, port: u16, protocol: u16, scheduler: &str) -> Service {
    let address = address.parse().expect("an address");
    let key = ServiceKey::Address { address, port, protocol };
    Service::new(key, Name::new(scheduler).expect("a name"))
}

fn destination(address: &str, port: u16, forward: u32) -> Destination {
    let address = address.parse().expect("an address");
    Destination::new(DestinationKey { address, port }, forward)
}

fn tunnelled(address: &str, port: u16, kind: u8, tunnel_port: u16, flags: u16) -> Destination {
    Destination {
        tunnel: Tunnel { kind, port: tunnel_port, flags },
        ..destination(address, port, forward::TUNNEL)
    }
}

/// Every kind of entry, as it is to be read back.
fn every_kind() -> Vec<(Service, Vec<Destination>)> {
    let persistent = Service {
        flags: flags::PERSISTENT | flags::SCHED1 | flags::SCHED2,
        timeout: 360,
        netmask: Netmask::Ipv4(Ipv4Addr::new(255, 255, 255, 0)),
        ..service("192.0.2.1", 80, protocol::TCP, "sh")
    };
    let limits = Destination {
        weight: i32::MAX as u32,
        upper_threshold: u32::MAX,
        lower_threshold: u32::MAX - 1,
        ..destination("198.51.100.1", 80, forward::DROUTE)
    };
    let drained = Destination { weight: 0, ..destination("198.51.100.2", 8080, forward::MASQ) };
    let sip = Service {
        persistence_engine: Some(Name::new("sip").expect("a name")),
        flags: flags::PERSISTENT | flags::ONE_PACKET,
        timeout: 1,
        ..service("192.0.2.2", 5060, protocol::UDP, "rr")
    };
    let six = Service {
        flags: flags::PERSISTENT,
        timeout: 300,
        netmask: Netmask::Ipv6(64),
        ..service("2001:db8::1", 443, protocol::TCP, "wrr")
    };
    let marked = |family, fwmark| {
        let key = ServiceKey::Fwmark { family, fwmark };
        Service::new(key, Name::new("wlc").expect("a name"))
    };
    vec![
        (persistent, vec![limits, drained]),
        (sip, vec![destination("198.51.100.3", 5060, forward::MASQ)]),
        (
            six,
            vec![
                destination("2001:db8::a", 443, forward::DROUTE),
                tunnelled("198.51.100.9", 443, tunnel_kind::IPIP, 0, 0),
            ],
        ),
        (service("192.0.2.3", 9, protocol::SCTP, "lc"), vec![]),
        (
            marked(Family::Ipv4, 5),
            vec![
                tunnelled("198.51.100.4", 0, tunnel_kind::GUE, 6080, tunnel_flags::REMCSUM),
                tunnelled("198.51.100.5", 0, tunnel_kind::GRE, 0, tunnel_flags::CSUM),
                tunnelled("198.51.100.6", 0, tunnel_kind::IPIP, 0, 0),
                tunnelled("2001:db8::b", 0, tunnel_kind::GUE, 65535, 0),
            ],
        ),
        (marked(Family::Ipv6, 5), vec![destination("2001:db8::c", 0, forward::DROUTE)]),
        (marked(Family::Ipv4, u32::MAX), vec![destination("198.51.100.7", 0, forward::DROUTE)]),
    ]
}

fn additions(table: &[(Service, Vec<Destination>)]) -> impl Iterator<Item = Command> {
    table.iter().flat_map(|(service, destinations)| {
        let key = service.key;
        let add = move |destination: &Destination| Command::NewDestination(key, *destination);
        std::iter::once(Command::NewService(*service)).chain(destinations.iter().map(add))
    })
}

fn table() -> Outcome {
    modules::load("ip_vs_pe_sip")?;
    let table = every_kind();
    let mut client = Client::connect()?;
    ensure(client.services()?.is_empty(), "the table is empty at first")?;
    let refusals = client.execute(additions(&table))?;
    ensure(refusals.is_empty(), &format!("all added: {refusals:?}"))?;
    compare(&mut client, &table)?;

    let (first, destinations) = &table[0];
    let without = Service { persistence_engine: None, flags: 0, ..table[1].0 };
    let weight = Destination { weight: 7, ..destinations[1] };
    let gone = table[2].1[0].key();
    let refusals = client.execute([
        Command::SetDestination(first.key, weight),
        Command::SetService(without),
        Command::DeleteDestination(table[2].0.key, gone),
        Command::DeleteService(table[3].0.key),
    ])?;
    ensure(refusals.is_empty(), &format!("all changed: {refusals:?}"))?;
    let mut changed = table.clone();
    changed[0].1[1] = weight;
    changed[1].0 = without;
    changed[2].1.remove(0);
    changed.remove(3);
    compare(&mut client, &changed)?;
    println!("table: ok, {} services", changed.len());
    Ok(())
}

fn compare(client: &mut Client, expected: &[(Service, Vec<Destination>)]) -> Outcome {
    ensure(client.services()?.len() == expected.len(), "the number")?;
    for (service, destinations) in expected {
        let live = client.service(&service.key)?.ok_or("a service is missing")?;
        let hashed = Service { flags: service.flags | flags::HASHED, ..*service };
        ensure(live.service == hashed, &format!("{live:?} is {hashed:?}"))?;
        ensure(live.unknown.is_empty(), "nothing unknown")?;
        let mut answered = client.destinations(&service.key)?;
        // The kernel puts what comes last in front.
        answered.reverse();
        let answered: Vec<_> = answered.iter().map(|entry| entry.destination).collect();
        ensure(answered == *destinations, &format!("{answered:?} is {destinations:?}"))?;
    }
    Ok(())
}

fn refusals() -> Outcome {
    let mut client = Client::connect()?;
    let web = service("192.0.2.80", 80, protocol::TCP, "wrr");
    let server = destination("198.51.100.80", 80, forward::DROUTE);
    let absent = service("192.0.2.81", 80, protocol::TCP, "wrr");
    let no_scheduler = service("192.0.2.82", 80, protocol::TCP, "nosuch");
    let other = destination("198.51.100.81", 80, forward::DROUTE);
    let heavy = Destination { weight: 1 << 31, ..other };
    let crossed = Destination { upper_threshold: 1, lower_threshold: 2, ..other };
    let no_port = tunnelled("198.51.100.82", 80, tunnel_kind::GUE, 0, 0);
    let no_netmask =
        Service { netmask: Netmask::Ipv6(0), ..service("2001:db8::80", 80, protocol::TCP, "wrr") };
    let multicast = destination("224.0.0.1", 80, forward::DROUTE);
    let mixed = destination("2001:db8::81", 80, forward::DROUTE);
    let cases = [
        (Command::NewService(web), None),
        (Command::NewService(web), Some(Reason::Exists)),
        (Command::NewDestination(web.key, server), None),
        (Command::NewDestination(web.key, server), Some(Reason::Exists)),
        (Command::SetService(absent), Some(Reason::NoService)),
        (Command::DeleteService(absent.key), Some(Reason::NoService)),
        (Command::NewDestination(absent.key, server), Some(Reason::NoService)),
        (Command::SetDestination(web.key, other), Some(Reason::NoDestination)),
        (Command::DeleteDestination(web.key, other.key()), Some(Reason::NoDestination)),
        (Command::NewService(no_scheduler), Some(Reason::NoScheduler)),
        (Command::NewDestination(web.key, heavy), Some(Reason::OutOfRange)),
        (Command::NewDestination(web.key, crossed), Some(Reason::OutOfRange)),
        (Command::NewDestination(web.key, no_port), Some(Reason::Invalid)),
        (Command::NewService(no_netmask), Some(Reason::Invalid)),
        (Command::NewDestination(web.key, multicast), Some(Reason::Invalid)),
        (Command::NewDestination(web.key, mixed), Some(Reason::Invalid)),
        (Command::DeleteService(web.key), None),
    ];
    let refused = client.execute(cases.iter().map(|(command, _)| *command))?;
    let expected: Vec<_> = cases
        .iter()
        .enumerate()
        .filter_map(|(index, (_, reason))| reason.map(|reason| (index, reason)))
        .collect();
    for refusal in &refused {
        println!("{:2}: {}", refusal.index, refusal.refusal);
        ensure(refusal.refusal.object == cases[refusal.index].0.object(), "the object")?;
    }
    let refused: Vec<_> =
        refused.iter().map(|refusal| (refusal.index, refusal.refusal.reason())).collect();
    ensure(refused == expected, &format!("{refused:?} is {expected:?}"))?;
    ensure(client.service(&web.key)?.is_none(), "no service is None")?;
    ensure(client.destinations(&web.key)?.is_empty(), "a vanished service has no destinations")?;
    all_refused(&mut client)
}

/// Many chunks of refusals and nothing else: none may be lost.
fn all_refused(client: &mut Client) -> Outcome {
    let absent = service("192.0.2.81", 80, protocol::TCP, "wrr").key;
    let server = destination("198.51.100.80", 80, forward::DROUTE);
    for command in [Command::NewDestination(absent, server), Command::DeleteService(absent)] {
        let refused = client.execute(std::iter::repeat_n(command, 5000))?;
        let in_order = refused.iter().map(|refusal| refusal.index).eq(0..5000);
        ensure(in_order, "5,000 refusals, each in its place")?;
    }
    println!("refusals: ok");
    Ok(())
}

fn unpermitted() -> Outcome {
    let mut client = Client::connect()?;
    let error = client.services().err().ok_or("reading succeeded")?;
    ensure(matches!(error, Error::PermissionDenied { .. }), &format!("{error:?}"))?;
    println!("{error}");
    let web = service("192.0.2.80", 80, protocol::TCP, "wrr");
    let interrupted = client.execute([Command::NewService(web)]);
    match interrupted.err().ok_or("writing succeeded")? {
        Interrupted { unknown, source: Error::PermissionDenied { .. }, .. }
            if unknown.is_empty() =>
        {
            println!("unpermitted: ok")
        }
        other => return Err(other.into()),
    }
    Ok(())
}

fn absent() -> Outcome {
    match Client::connect() {
        Err(error @ Error::ModuleMissing { .. }) => {
            println!("{error}");
            let source = error.source().ok_or("without a cause")?;
            println!("  {source}\nabsent: ok");
            Ok(())
        }
        other => Err(format!("{other:?}").into()),
    }
}

fn bench(services: u32, destinations: u32) -> Outcome {
    let mut client = Client::connect()?;
    let key = |number: u32| ServiceKey::Address {
        address: IpAddr::from(Ipv4Addr::from_bits(0x0a01_0000 + number)),
        port: 80,
        protocol: protocol::TCP,
    };
    let wrr = Name::new("wrr")?;
    let table = |number: u32| {
        let add = move |other: u32| {
            let address = Ipv4Addr::from_bits(0x0a80_0000 + number * destinations + other);
            let address = IpAddr::from(address);
            let destination = DestinationKey { address, port: 80 };
            Command::NewDestination(key(number), Destination::new(destination, forward::DROUTE))
        };
        let service = Command::NewService(Service::new(key(number), wrr));
        std::iter::once(service).chain((0..destinations).map(add))
    };
    let start = Instant::now();
    let refusals = client.execute((0..services).flat_map(table))?;
    let loaded = start.elapsed();
    ensure(refusals.is_empty(), "nothing refused")?;

    let mut weights = 0_u64;
    for round in ["first", "again"] {
        let start = Instant::now();
        let mut keys = Vec::new();
        client.for_each_service(|reply| keys.push(reply.service.key))?;
        for key in &keys {
            client.for_each_destination(key, |reply| {
                weights += u64::from(reply.destination.weight);
            })?;
        }
        println!("visited {round} in {:?}", start.elapsed());
        ensure(keys.len() == services as usize, "all services")?;
    }
    ensure(weights == 2 * u64::from(services * destinations), "all destinations")?;
    let start = Instant::now();
    let mut count = 0;
    for entry in client.services()? {
        count += client.destinations(&entry.service.key)?.len();
    }
    println!("collected {count} in {:?}; loaded in {loaded:?}", start.elapsed());

    let heavier = Destination {
        weight: 2,
        ..match table(0).nth(1) {
            Some(Command::NewDestination(_, destination)) => destination,
            _ => return Ok(()),
        }
    };
    let start = Instant::now();
    client.execute([Command::SetDestination(key(0), heavier)])?;
    println!("one weight in {:?}", start.elapsed());
    Ok(())
}

fn ensure(holds: bool, what: &str) -> Outcome {
    match holds {
        true => Ok(()),
        false => Err(format!("does not hold: {what}").into()),
    }
}
