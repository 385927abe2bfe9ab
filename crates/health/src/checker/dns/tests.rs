use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::checker::test_servers::{LOOPBACKS, closed_port, made, patient, quick, udp_server};
use crate::outcome::{Outcome, Stage};
use evenkeel_model::check::Kind;
use evenkeel_model::check::RecordType;

fn options(record: RecordType, answer: Option<&str>) -> DnsOptions {
    let answer = answer.map(str::to_owned);
    DnsOptions { name: "a.example".to_owned(), record, answer }
}

/// An answer to a query: its header and question, then records as they are.
fn answered(query: &[u8], flags: u16, count: u16, records: &[u8]) -> Vec<u8> {
    let mut answer = query[..2].to_vec();
    answer.extend_from_slice(&flags.to_be_bytes());
    answer.extend_from_slice(&[0, 1]);
    answer.extend_from_slice(&count.to_be_bytes());
    answer.extend_from_slice(&[0; 4]);
    answer.extend_from_slice(&query[12..]);
    answer.extend_from_slice(records);
    answer
}

/// A record of the name in the question.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = vec![0xc0, 12];
    record.extend_from_slice(&kind.to_be_bytes());
    record.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
    record.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
    record.extend_from_slice(data);
    record
}

fn decoded(options: &DnsOptions, count: u16, records: &[u8]) -> Result<Answer, Failure> {
    let query = query::encode(7, &options.name, options.record).unwrap();
    let answer = answered(&query, 0x8180, count, records);
    answer::decode(&answer, 7, options).map(Option::unwrap)
}

#[test]
fn a_server_that_answers_passes() {
    for loopback in LOOPBACKS {
        let server = udp_server(loopback, |query| {
            let alias = record(5, b"\x01b\xc0\x0e");
            let records = [alias, record(1, &[10, 0, 0, 1]), record(1, &[10, 0, 0, 2])].concat();
            Some(answered(query, 0x8180, 3, &records))
        });
        let made = |answer| made(server, &patient(Kind::Dns(options(RecordType::A, answer))));
        assert_eq!(made(None), Outcome::Passed);
        assert_eq!(made(Some("10.0.0.2")), Outcome::Passed);
        let found = vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()];
        assert_eq!(made(Some("10.0.0.3")), Failure::DnsAnswer { found }.into());
    }
}

#[test]
fn errors_and_missing_records_fail() {
    for (flags, failure) in [
        (0x8182, Failure::DnsCode { code: 2 }),
        (0x8183, Failure::DnsCode { code: 3 }),
        (0x8185, Failure::DnsCode { code: 5 }),
        (0x8180, Failure::DnsAnswer { found: vec![] }),
    ] {
        let server = udp_server(LOOPBACKS[0], move |query| Some(answered(query, flags, 0, &[])));
        let outcome = made(server, &patient(Kind::Dns(options(RecordType::A, None))));
        assert_eq!(outcome, failure.into());
    }
    let check = quick(Kind::Dns(options(RecordType::A, None)));
    assert_eq!(made(closed_port(LOOPBACKS[1]), &check), Failure::Refused.into());
    let silent = udp_server(LOOPBACKS[1], |_| None);
    let timeout = Failure::Timeout { stage: Stage::Reply, after: check.timeout };
    assert_eq!(made(silent, &check), timeout.into());
}

#[test]
fn answers_to_other_queries_are_passed_over() {
    let server = udp_server(LOOPBACKS[0], |query| {
        let mut other = answered(query, 0x8180, 1, &record(1, &[10, 0, 0, 1]));
        other[0] ^= 0xff;
        Some(other)
    });
    let check = quick(Kind::Dns(options(RecordType::A, None)));
    let timeout = Failure::Timeout { stage: Stage::Reply, after: check.timeout };
    assert_eq!(made(server, &check), timeout.into());
}

#[test]
fn a_truncated_answer_is_fetched_over_tcp() {
    for loopback in LOOPBACKS {
        let listener = TcpListener::bind((loopback, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let Ok(socket) = UdpSocket::bind(at) else { continue };
        thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            socket.send_to(&answered(&buffer[..length], 0x8380, 0, &[]), from).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut query).unwrap();
            let answer = answered(&query, 0x8180, 1, &record(16, b"\x03one\x04 two"));
            stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        });
        let check = patient(Kind::Dns(options(RecordType::Txt, Some("\"one two\""))));
        assert_eq!(made(at, &check), Outcome::Passed);
    }
}

#[test]
fn each_type_is_compared_as_a_zone_file_has_it() {
    let soa = b"\x02ns\xc0\x0e\x05admin\xc0\x0e\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05";
    let v6 = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    for (kind, data, wanted, other) in [
        (RecordType::A, &[10, 0, 0, 1][..], "10.0.0.1", "10.0.0.2"),
        (RecordType::Aaaa, &v6[..], "2001:DB8:0::1", "2001:db8::2"),
        (RecordType::Cname, b"\x01B\xc0\x0e", "b.example", "c.example."),
        (RecordType::Ns, b"\x02ns\xc0\x0c", "NS.a.example.", "ns.example"),
        (RecordType::Ptr, b"\x00", ".", "a"),
        (RecordType::Mx, b"\0\x0a\x02mx\xc0\x0e", "10 mx.example.", "20 mx.example."),
        (RecordType::Srv, b"\0\x01\0\x02\x14\x66\x01s\xc0\x0e", "1  2 5222 s.example", "1 2 5222"),
        (RecordType::Txt, b"\x02a \x01b", "a b", "a"),
        (RecordType::Soa, &soa[..], "ns.example. admin.example. 1 2 3 4 5", "ns.example."),
    ] {
        let options = options(kind, None);
        let answer = decoded(&options, 1, &record(query::number(kind), data)).unwrap();
        assert!(answer.records[0].is(wanted), "{:?} {wanted}", answer.records);
        assert!(!answer.records[0].is(other), "{:?} {other}", answer.records);
        assert!(answer.records[0].is(&answer.records[0].to_string()), "{:?}", answer.records);
    }
}

#[test]
fn malformed_answers_fail_and_loops_end() {
    let cname = options(RecordType::Cname, None);
    // The question takes 15 bytes after the header, the record's data begins at 39.
    for (what, data) in [
        ("a pointer to itself", &b"\xc0\x27"[..]),
        ("a pointer forwards", b"\xc0\x28"),
        ("two that point to each other", b"\x01a\xc0\x27"),
        ("a label beyond the end", b"\x3fa"),
        ("no end", b"\x01a"),
        ("an unknown label", b"\x80"),
        ("something after the name", b"\x01a\x00\x00"),
        ("a pointer beyond the end", b"\xff\xff"),
        ("nothing", b""),
    ] {
        let result = decoded(&cname, 1, &record(5, data));
        assert!(matches!(result, Err(Failure::Malformed { .. })), "{what}: {result:?}");
    }
    // A name that is lengthened by each pointer to the one before it.
    let mut records = record(5, &[&[63][..], &[b'a'; 63], &[0xc0, 12]].concat());
    for place in 0..5_u16 {
        let before = 39 + place * 78;
        let pointer = (0xc000 | before).to_be_bytes();
        records.extend(record(5, &[&[63][..], &[b'a'; 63], &pointer].concat()));
    }
    let result = decoded(&cname, 6, &records);
    assert_eq!(result.unwrap_err(), wire::malformed("a name is too long"));
    let a = options(RecordType::A, None);
    assert!(decoded(&a, 1, &record(1, &[10, 0, 0])).is_err());
    assert!(decoded(&a, 1, &record(1, &[10, 0, 0, 1, 2])).is_err());
    assert!(decoded(&a, 2, &record(1, &[10, 0, 0, 1])).is_err());
    assert!(decoded(&a, 60_000, &record(1, &[10, 0, 0, 1])).is_err());
    let query = query::encode(7, "a.example", RecordType::A).unwrap();
    assert!(answer::decode(&query, 7, &a).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_to_an_end(
        bytes in proptest::collection::vec(any::<u8>(), 0..600), kind in 0..9_usize, count in 0..20_u16,
    ) {
        let kinds = [
            RecordType::A, RecordType::Ns, RecordType::Cname, RecordType::Soa, RecordType::Ptr,
            RecordType::Mx, RecordType::Txt, RecordType::Aaaa, RecordType::Srv,
        ];
        let options = options(kinds[kind], None);
        let _ = answer::decode(&bytes, 0, &options);
        let _ = decoded(&options, count, &bytes);
        let _ = decoded(&options, 1, &record(query::number(kinds[kind]), &bytes));
    }
}
