use super::*;
use std::time::Duration;

/// 2031-05-06T07:08:09.123456Z
fn moment() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_935_817_689) + Duration::from_micros(123_456)
}

fn transfer(bytes: &[u8]) -> Transfer<'_> {
    Transfer {
        at: moment(),
        port: "dev",
        slot: Some(3),
        peer: None,
        source: "connection.rs:12",
        thread: "wharf-0",
        direction: Direction::Rx,
        bytes: [bytes, &[]],
    }
}

fn style(formats: Formats) -> Style {
    Style { formats, parts: Parts::TIME.with(Parts::PORT), limit: 80 }
}

fn written(style: Style, transfer: Transfer<'_>) -> String {
    let mut text = String::new();
    style.write(&transfer, &mut text);
    text
}

#[test]
fn a_transfer_reads_as_in_the_specification() {
    assert_eq!(
        written(style(Formats::ESCAPE), transfer(b"*IDN?\r\n")),
        r"2031-05-06T07:08:09.123456Z dev:3 < 7 *IDN?\r\n"
    );
}

#[test]
fn an_arrow_tells_the_direction_and_a_port_without_children_has_no_number() {
    let out = Transfer { direction: Direction::Tx, slot: None, ..transfer(b"OK") };
    assert_eq!(written(style(Formats::ESCAPE), out), "2031-05-06T07:08:09.123456Z dev > 2 OK");
}

#[test]
fn a_port_without_children_shows_who_is_at_the_other_end() {
    let peer = Some("[fe80::1]:7000".parse().unwrap());
    let transfer = Transfer { slot: None, peer, ..transfer(b"OK") };
    assert_eq!(written(style(Formats::ESCAPE), transfer), "2031-05-06T07:08:09.123456Z dev [fe80::1]:7000 < 2 OK");
    let bare = Style { parts: Parts::SOURCE, ..style(Formats::ESCAPE) };
    assert_eq!(written(bare, transfer), "[connection.rs:12] < 2 OK", "it stands where the name does, or not at all");
}

#[test]
fn each_part_stands_there_when_it_is_asked_for() {
    for (bits, before) in [
        (0, ""),
        (1, "2031-05-06T07:08:09.123456Z "),
        (2, "dev:3 "),
        (4, "[connection.rs:12] "),
        (8, "[wharf-0] "),
        (15, "2031-05-06T07:08:09.123456Z dev:3 [connection.rs:12] [wharf-0] "),
    ] {
        let style = Style { parts: Parts::from_bits(bits).unwrap(), ..style(Formats::NONE) };
        assert_eq!(written(style, transfer(b"*IDN?")), format!("{before}< 5"), "{bits}");
    }
}

#[test]
fn bytes_are_shown_in_the_formats_that_are_asked_for() {
    let bytes = b"a\\\t\x00\xff~";
    let rows = "\n0000  61 5c 09 00 ff 7e                                a\\...~";
    for (bits, after) in [
        (0, "< 6".to_owned()),
        (1, "< 6 a\\...~".to_owned()),
        (2, r"< 6 a\\\t\x00\xff~".to_owned()),
        (3, r"< 6 a\\\t\x00\xff~".to_owned()),
        (4, format!("< 6{rows}")),
        (5, format!("< 6 a\\...~{rows}")),
        (6, format!(r"< 6 a\\\t\x00\xff~{rows}")),
    ] {
        let style = Style { parts: Parts::NONE, ..style(Formats::from_bits(bits).unwrap()) };
        assert_eq!(written(style, transfer(bytes)), after, "{bits}");
    }
}

#[test]
fn rows_hold_sixteen_bytes_and_their_columns_are_straight() {
    let bytes: Vec<u8> = (0x41..0x41 + 18).collect();
    let style = Style { parts: Parts::NONE, ..style(Formats::HEX) };
    assert_eq!(
        written(style, transfer(&bytes)),
        "< 18\n\
         0000  41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f 50  ABCDEFGHIJKLMNOP\n\
         0010  51 52                                            QR"
    );
    assert_eq!(written(style, transfer(&bytes[..16])).lines().count(), 2);
}

#[test]
fn no_more_than_the_limit_is_shown_and_the_length_is_true() {
    for (formats, limit, after) in [
        (Formats::ESCAPE, 4, "< 10 0123"),
        (Formats::ESCAPE, 0, "< 10"),
        (Formats::ASCII, 0, "< 10"),
        (Formats::HEX, 0, "< 10"),
        (Formats::ESCAPE, 10, "< 10 0123456789"),
        (Formats::HEX, 2, "< 10\n0000  30 31                                            01"),
    ] {
        let style = Style { limit, parts: Parts::NONE, ..style(formats) };
        assert_eq!(written(style, transfer(b"0123456789")), after);
    }
}

#[test]
fn two_pieces_are_written_as_one() {
    let bytes: Vec<u8> = (0..40).collect();
    for limit in [0, 1, 17, 39, 40, 41] {
        let style = Style { limit, ..style(Formats::ESCAPE.with(Formats::HEX)) };
        let whole = written(style, transfer(&bytes));
        for cut in 0..=bytes.len() {
            let pieces = Transfer { bytes: [&bytes[..cut], &bytes[cut..]], ..transfer(&[]) };
            assert_eq!(written(style, pieces), whole, "{cut}");
        }
    }
}

#[test]
fn no_byte_writes_to_a_terminal_or_begins_a_line() {
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    for bits in 0..8 {
        let formats = Formats::from_bits(bits).unwrap();
        let text = written(Style { limit: 256, ..style(formats) }, transfer(&bytes));
        assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{text}");
        assert_eq!(text.lines().count(), if formats.contains(Formats::HEX) { 17 } else { 1 });
    }
}

#[test]
fn text_is_appended_and_its_room_used_again() {
    let mut text = String::with_capacity(256);
    let before = text.as_ptr();
    for _ in 0..3 {
        text.clear();
        text.push_str("x ");
        style(Formats::ESCAPE).write(&transfer(b"y"), &mut text);
        assert_eq!(text, "x 2031-05-06T07:08:09.123456Z dev:3 < 1 y");
    }
    assert_eq!(text.as_ptr(), before);
}

#[test]
fn masks_have_the_bits_of_the_specification() {
    let levels = [Levels::ERROR, Levels::DEVICE, Levels::FILTER, Levels::DRIVER, Levels::FLOW, Levels::WARNING];
    assert_eq!(levels.map(Levels::bits), [1, 2, 4, 8, 16, 32]);
    assert_eq!([Formats::NONE, Formats::ASCII, Formats::ESCAPE, Formats::HEX].map(Formats::bits), [0, 1, 2, 4]);
    assert_eq!([Parts::TIME, Parts::PORT, Parts::SOURCE, Parts::THREAD].map(Parts::bits), [1, 2, 4, 8]);
    assert_eq!((Levels::from_bits(64), Formats::from_bits(8), Parts::from_bits(16)), (None, None, None));
    assert!(Levels::from_bits(9).unwrap().contains(Levels::DRIVER));
    assert!(!Levels::from_bits(9).unwrap().contains(Levels::DRIVER.with(Levels::FLOW)));
}

#[test]
fn a_pattern_names_the_port_and_the_slot() {
    let name = |pattern, slot| FileName::parse(pattern).unwrap().of("dev", slot);
    assert_eq!(name("/var/log/%p-%i.log", Some(12)), "/var/log/dev-12.log");
    assert_eq!(name("%p%i%%%%p%%i", Some(0)), "dev0%%p%i");
    assert_eq!(name("%i", None), "-1");
    assert_eq!(name("ü.log", None), "ü.log");
    assert_eq!(name(&FileName::literally("100%/%p"), None), "100%/%p");
    for (pattern, offset) in [("%", 0), ("a%d", 1), ("%%%", 2), ("ü%P", 2), ("%i% p", 2)] {
        assert_eq!(FileName::parse(pattern), Err(FileNameError { offset }), "{pattern}");
    }
}
