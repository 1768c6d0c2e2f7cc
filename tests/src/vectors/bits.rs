//! Functions 1, 2, 5 and 15.

use super::{Vector, cat, span, vector};

/// Coils from 200 on: every third is on, the first at 201.
fn many_coils() -> Vec<u8> {
    [0x92, 0x24, 0x49].into_iter().cycle().take(250).collect()
}

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = reads();
    all.extend(writes());
    all
}

fn reads() -> Vec<Vector> {
    vec![
        vector("coils are packed from bit 0 on and spare bits are 0", "3.2, AP 6.1")
            .ask(span(1, 0, 10), [1, 2, 0x49, 0x02])
            .ask(span(1, 0, 1), [1, 1, 0x01])
            .ask(span(1, 1, 8), [1, 1, 0x24])
            .ask(span(1, 0, 16), [1, 2, 0x49, 0x92])
            .ask(span(1, 0, 17), [1, 3, 0x49, 0x92, 0x00]),
        vector("2000 coils are the most there can be read", "3.2, AP 6.1")
            .ask(span(1, 200, 2000), cat(&[&[1, 250], &many_coils()]))
            .refuse(span(1, 200, 2001), 3),
        vector("2000 discrete inputs are the most there can be read", "3.2, AP 6.2")
            .ask(span(2, 200, 2000), cat(&[&[2, 250], &[0x42, 0x08, 0x21, 0x84, 0x10].repeat(50)]))
            .refuse(span(2, 200, 2001), 3),
        vector("discrete inputs are a table of their own", "4, AP 4.3")
            .ask(span(2, 0, 8), [2, 1, 0x42])
            .ask(span(2, 65535, 1), [2, 1, 0x00]),
        vector("no bits and too many bits are 03 even where there are none", "3.2, 11")
            .refuse(span(1, 0, 0), 3)
            .refuse(span(1, 0, 65535), 3)
            .refuse(span(1, 5000, 0), 3)
            .refuse(span(1, 5000, 2001), 3)
            .refuse(span(2, 0, 0), 3)
            .refuse(span(2, 5000, 0), 3)
            .refuse(span(2, 5000, 2001), 3),
        vector("bits that are not there are 02", "3.2, AP 6.1")
            .ask(span(1, 96, 4), [1, 1, 0x09])
            .refuse(span(1, 96, 5), 2)
            .refuse(span(1, 100, 1), 2)
            .refuse(span(1, 199, 2), 2)
            .refuse(span(1, 0, 2000), 2)
            .refuse(span(2, 100, 1), 2)
            .refuse(span(2, 65534, 2), 2),
        vector("a read of bits crosses blocks that touch", "4").ask(span(1, 2298, 4), [1, 1, 0x09]),
        vector("the last coil has address 65535 and none follows it", "3.1, AP 4.4")
            .ask(span(1, 65535, 1), [1, 1, 0x01])
            .ask(span(1, 65520, 16), [1, 2, 0x49, 0x92])
            .refuse(span(1, 65535, 2), 2)
            .refuse(span(1, 65520, 17), 2)
            .refuse(span(2, 65535, 2), 2),
        vector("coils that may only be written are 02 for a read", "4")
            .ask(span(1, 2320, 10), [1, 2, 0x24, 0x01])
            .refuse(span(1, 2330, 1), 2)
            .refuse(span(1, 2329, 2), 2)
            .refuse(span(1, 2339, 2), 2)
            .ask(span(1, 2340, 1), [1, 1, 0x01]),
        vector("a read of bits has exactly 5 bytes", "3.1 (7), 11")
            .refuse([1], 3)
            .refuse([1, 0, 0, 0], 3)
            .refuse([1, 0, 0, 0, 1, 0], 3)
            .refuse([2, 0], 3)
            .refuse([2, 0, 0, 0, 1, 0, 0], 3),
    ]
}

fn writes() -> Vec<Vector> {
    let ones = [0xFF; 246];
    vec![
        vector("a coil is switched on and off", "3.2, AP 6.5")
            .echo([5, 0, 1, 0xFF, 0])
            .ask(span(1, 0, 8), [1, 1, 0x4B])
            .echo([5, 0, 0, 0, 0])
            .ask(span(1, 0, 8), [1, 1, 0x4A])
            .echo([5, 0xFF, 0xFF, 0, 0])
            .ask(span(1, 65535, 1), [1, 1, 0]),
        vector("a coil takes FF00 and 0000 alone, and other values are 03 even where there is none", "3.2, 3.4, 11")
            .refuse([5, 0, 1, 0x12, 0x34], 3)
            .refuse([5, 0, 1, 0xFF, 0x01], 3)
            .refuse([5, 0, 1, 0x00, 0xFF], 3)
            .refuse([5, 0, 1, 0x00, 0x01], 3)
            .refuse([5, 0, 1, 0xFF, 0xFF], 3)
            .refuse([5, 0x13, 0x88, 0x12, 0x34], 3)
            .ask(span(1, 0, 8), [1, 1, 0x49]),
        vector("a coil that is not there or not writable is 02", "3.2, 4")
            .refuse([5, 0, 100, 0xFF, 0], 2)
            .refuse([5, 0x09, 0x10, 0xFF, 0], 2) // 2320, read only
            .ask(span(1, 2320, 1), [1, 1, 0])
            .echo([5, 0x09, 0x1A, 0xFF, 0]), // 2330, write only
        vector("a write of one coil has exactly 5 bytes", "3.1 (7)")
            .refuse([5], 3)
            .refuse([5, 0, 1, 0xFF], 3)
            .refuse([5, 0, 1, 0xFF, 0, 0], 3)
            .ask(span(1, 0, 8), [1, 1, 0x49]),
        vector("several coils are written", "3.2, AP 6.11")
            .ask([15, 0, 0x13, 0, 0x0A, 2, 0xCD, 0x01], [15, 0, 0x13, 0, 0x0A])
            .ask(span(1, 0x13, 10), [1, 2, 0xCD, 0x01])
            .ask(span(1, 0x12, 1), [1, 1, 0x01])
            .ask(span(1, 0x1D, 2), [1, 1, 0x02]),
        vector("spare bits of a coil write are ignored", "3.2")
            .ask([15, 0, 0, 0, 1, 1, 0xFE], [15, 0, 0, 0, 1])
            .ask(span(1, 0, 8), [1, 1, 0x48]),
        vector("1968 coils are the most there can be written", "3.2, AP 6.11")
            .ask(cat(&[&span(15, 200, 1968), &[246], &ones]), span(15, 200, 1968))
            .ask(span(1, 200, 1968), cat(&[&[1, 246], &ones]))
            .ask(span(1, 2168, 3), [1, 1, 0x02])
            .refuse(cat(&[&span(15, 200, 1969), &[247], &ones, &[1]]), 3)
            .refuse(cat(&[&span(15, 5000, 1969), &[247], &ones, &[1]]), 3),
        vector("a coil write whose byte count does not fit is 03 and writes nothing", "3.2, 11")
            .refuse([15, 0, 0, 0, 0, 0], 3)
            .refuse([15, 0, 0, 0, 0, 1, 0], 3)
            .refuse([15, 0, 0, 0, 1, 2, 0, 0], 3)
            .refuse([15, 0, 0, 0, 9, 1, 0], 3)
            .refuse([15, 0, 0, 0, 8, 1], 3)
            .refuse([15, 0, 0, 0, 8, 1, 0, 0], 3)
            .refuse([15, 0, 0, 0, 8], 3)
            .refuse([15, 0, 0, 0, 8, 0], 3)
            .refuse([15, 0x13, 0x88, 0, 1, 2, 0, 0], 3)
            .refuse([15, 0, 0, 0xFF, 0xFF, 1, 0], 3)
            .ask(span(1, 0, 16), [1, 2, 0x49, 0x92]),
        vector("a coil write that is refused writes nothing at all", "3.1")
            .refuse([15, 0, 96, 0, 8, 1, 0x66], 2)
            .ask(span(1, 96, 4), [1, 1, 0x09])
            .refuse(cat(&[&span(15, 2318, 4), &[1, 0x0F]]), 2)
            .ask(span(1, 2318, 2), [1, 1, 0x02])
            .refuse(cat(&[&span(15, 65535, 2), &[1, 0]]), 2)
            .ask(span(1, 65535, 1), [1, 1, 0x01]),
        vector("a write of coils crosses blocks that touch", "4")
            .ask(cat(&[&span(15, 2298, 4), &[1, 0x06]]), span(15, 2298, 4))
            .ask(span(1, 2297, 6), [1, 1, 0x0C]),
    ]
}
