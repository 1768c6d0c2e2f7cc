//! `wharf-core` against the naive server and itself on random scripts.

use wharf_tests::fuzz;
use wharf_tests::requests;
use wharf_tests::rng::{Rng, seeds};
use wharf_tests::vectors::frame;

#[test]
fn fuzz_bodies_hold_on_random_bytes() {
    for seed in seeds(300) {
        let mut rng = Rng::new(seed);
        let len = rng.index(400);
        let data = rng.bytes(len);
        for (_, body) in fuzz::TARGETS {
            body(&data);
        }
        // Random bytes rarely make a request, so these are put together of requests.
        let mut script = vec![rng.byte()];
        for _ in 0..20 {
            let pdu = requests::draw(&mut rng);
            fuzz::request(&[vec![255], pdu.clone()].concat());
            let len = u8::try_from(pdu.len() - 1).unwrap();
            script.extend([rng.byte() & 0x80, rng.byte(), len]);
            script.extend(pdu);
            if rng.chance(1, 3) {
                script.extend([5 | rng.byte() & 0x80, rng.byte() % 4]);
            }
        }
        fuzz::connection(&script);
        let mut stream = vec![rng.byte()];
        for _ in 0..6 {
            stream.extend(frame(rng.word(), rng.byte(), &requests::draw(&mut rng)));
            if rng.chance(1, 6) {
                stream.extend(requests::noise(&mut rng));
            }
        }
        fuzz::mbap_stream(&stream);
    }
}
