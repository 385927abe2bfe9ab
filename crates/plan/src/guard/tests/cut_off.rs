//! Tests the guard `cut-off`.

use super::*;

#[test]
fn an_incomplete_file_deletes_nothing() {
    let wanted = spec([(on(1), weighing(&[1]))], Drain::NONE);
    let (edited, empty) = (host([(on(1), weighing(&[5]))]), host([]));
    let record = PriorState::for_snapshot();
    let cut = |live: &Live, lacks| {
        let cut_off = CutOff { name: "web.yaml".to_owned(), length: 412, lacks };
        let plan = plan(Inputs { cut_off: Some(&cut_off), ..Inputs::new(&wanted, live, &record) });
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::CutOff);
            message
        })
    };
    let rest = Lack::Rest { of: 1830 };
    assert_eq!(
        cut(&edited, rest).expect("it is refused"),
        "web.yaml is the first 412 of 1830 bytes of a file of the spec in force, and may not have \
         been written in full; if it is complete, end it with a line `...`, which marks it as \
         complete"
    );
    assert!(cut(&edited, Lack::Newline).expect("it is refused").contains("a newline"));
    assert!(cut(&edited, Lack::EndMark).expect("it is refused").contains("is incomplete"));
    // Additions delete nothing, but a file that is certainly incomplete is refused.
    assert_eq!(cut(&empty, rest), None);
    assert_eq!(cut(&empty, Lack::Newline), None);
    assert!(cut(&empty, Lack::EndMark).is_some());
    let same = host([(on(1), weighing(&[1]))]);
    for lacks in [rest, Lack::Newline] {
        assert_eq!(cut(&same, lacks), None, "nothing would change");
    }
    // The missing part may be its scope or its guards.
    assert!(cut(&same, Lack::EndMark).is_some());
}
