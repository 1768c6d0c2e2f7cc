//! Address texts. The body also takes their bytes as choices, of which the last seeds make something.

use crate::fuzz::seeds::Seed;

pub(in crate::fuzz::seeds) fn texts() -> Vec<Seed> {
    let text = |name, text: &str| (name, text.as_bytes().to_vec());
    let name = ["a".repeat(63).as_str(); 4].join(".");
    vec![
        ("nothing", Vec::new()),
        text("blanks_alone", " \t "),
        text("a_port_alone", ":5025"),
        text("every_ipv4_interface_by_address", "0.0.0.0:5025 TCP"),
        text("localhost_in_capitals", "LOCALHOST:5001"),
        text("localhost_with_a_final_dot", "localhost.:5001"),
        text("port_0", "127.0.0.1:0"),
        text("a_name_and_udp", "ioc-7.lab.example:4000 Udp"),
        text("every_interface_of_both_families", "[::]:7000"),
        text("ipv6_with_a_zone", "[fe80::1%eth0]:7000 udp"),
        text("ipv4_in_ipv6_clothes_with_a_zone", "[::FFFF:10.0.0.7%7]:7000"),
        text("blanks_everywhere", " \t :00080 \t tcp\t "),
        text("no_port", "127.0.0.1"),
        text("no_colon_behind_the_bracket", "[::1]7000"),
        text("a_port_with_a_sign", "host:+80"),
        text("a_protocol_glued_to_its_port", ":5025udp"),
        text("a_port_that_would_wrap_to_80", ":4294967376"),
        text("six_digits_below_65536", ":000080"),
        text("ipv6_without_brackets", "::1:7000"),
        text("ipv6_with_a_zone_without_brackets", "fe80::1%eth0:7000"),
        text("two_colons_that_are_no_ipv6", "a:b:80"),
        text("no_closing_bracket", "[::1:7000"),
        text("an_ipv4_number_above_255", "256.1.1.1:80"),
        text("an_ipv4_number_with_a_leading_zero", "01.2.3.4:80"),
        text("ipv4_in_brackets", "[1.2.3.4]:1"),
        text("an_empty_zone", "[fe80::1%]:80"),
        text("a_zone_of_16_bytes", "[fe80::1%0123456789abcdef]:80"),
        text("an_unknown_protocol", ":80 SO_REUSEPORT"),
        text("two_protocols", ":80 tcp udp"),
        text("a_letter_that_is_not_ascii", "müller:80"),
        text("a_nul_and_a_newline", "a\0b:80\n"),
        ("bytes_that_are_no_text", vec![0xFF, b':', b'8', 0xC3]),
        text("a_label_of_63_bytes", &format!("{}:80", "a".repeat(63))),
        text("a_label_of_64_bytes", &format!("{}:80", "a".repeat(64))),
        text("a_name_of_253_bytes", &format!("{}:80", &name[..253])),
        text("a_name_of_254_bytes", &format!("{}:80", &name[..254])),
        text("three_hundred_bytes", &format!("{:>300}", ":80")),
        text("one_byte_too_many", &format!("{:>301}", ":80")),
        ("composed_of_an_ipv6_address_with_zeros_left_out", {
            [&[0, 3, 0b10_0010, 0b1000_0001, 0xFE, 0x80, 0, 1, 3], &b"eth0"[..], &[0, 80, 0, 0, 0]].concat()
        }),
        ("composed_of_a_long_name_and_a_changed_colon", {
            [&[2, 4, 4, 62], &[1; 63][..], &[62], &[60; 63], &[61], &[52; 62], &[0, 1, 0, 5, 1]].concat()
        }),
    ]
}
