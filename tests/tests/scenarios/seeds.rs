//! Every seed and every finding kept in `fuzz/seeds` is replayed here, without a fuzzer.

use std::fs;
use std::path::Path;
use wharf_tests::fuzz;

#[test]
fn every_fuzz_seed_passes_its_body() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    for &(target, body) in fuzz::TARGETS {
        let mut names: Vec<_> = fs::read_dir(seeds.join(target))
            .unwrap_or_else(|error| panic!("{target}: {error}"))
            .map(|entry| entry.expect("the folder can be listed").path())
            .collect();
        names.sort();
        assert!(names.len() >= 10, "{target} has {} seeds", names.len());
        for path in names {
            println!("{}", path.display());
            body(&fs::read(&path).expect("a seed can be read"));
        }
    }
}

#[test]
#[cfg(feature = "host")]
fn no_target_is_without_seeds_and_no_seeds_without_target() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let mut folders: Vec<_> = fs::read_dir(seeds)
        .expect("the seeds are in the repository")
        .map(|entry| entry.expect("the folder can be listed").file_name().into_string().expect("ASCII names"))
        .collect();
    folders.sort();
    let mut targets: Vec<_> = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    targets.sort();
    assert_eq!(folders, targets);
}
