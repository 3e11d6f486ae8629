//! Parity over memory: bytes of source data per second, by operation and shape.
//!
//! `cargo bench -p holdfast-benches --bench parity`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use holdfast_core::rng::Rng;
use holdfast_raid::parity::{self, Blocks, DataBlock, Lost};

fn blocks(n: usize, bytes: usize) -> Vec<Vec<u8>> {
    let mut rng = Rng::new(1);
    (0..n)
        .map(|_| {
            let mut block = vec![0; bytes];
            rng.fill(&mut block);
            block
        })
        .collect()
}

fn generate(c: &mut Criterion) {
    for (n, kib) in [(4, 4), (8, 4), (8, 64), (16, 64)] {
        let bytes = kib << 10;
        let data = blocks(n, bytes);
        let views: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let by_exponent: Vec<Option<&[u8]>> = views.iter().copied().map(Some).collect();
        let (mut p, mut q) = (vec![0; bytes], vec![0; bytes]);
        let shape = format!("{n}x{kib}K");
        let mut group = c.benchmark_group("generate");
        group.throughput(Throughput::Bytes((n * bytes) as u64));
        group.bench_function(BenchmarkId::new("xor", &shape), |b| {
            b.iter(|| parity::xor(&mut p, &views));
        });
        group.bench_function(BenchmarkId::new("pq", &shape), |b| {
            b.iter(|| parity::pq(&mut p, &mut q, &by_exponent));
        });
        group.finish();
    }
}

fn recover(c: &mut Criterion) {
    let (n, bytes) = (8, 64 << 10);
    let mut data = blocks(n, bytes);
    let (mut p, mut q) = (vec![0; bytes], vec![0; bytes]);
    let views: Vec<Option<&[u8]>> = data.iter().map(|block| Some(block.as_slice())).collect();
    parity::pq(&mut p, &mut q, &views);
    let mut group = c.benchmark_group("recover");
    group.throughput(Throughput::Bytes((n * bytes) as u64));
    for (name, lost) in [("one", vec![Lost::Data(1)]), ("two", vec![Lost::Data(1), Lost::Data(5)])]
    {
        group.bench_function(BenchmarkId::new(name, "8x64K"), |b| {
            b.iter(|| {
                let mut blocks: Vec<DataBlock<'_>> = data
                    .iter_mut()
                    .enumerate()
                    .map(|(i, bytes)| DataBlock { exponent: i as u32, bytes })
                    .collect();
                let mut stripe = Blocks { data: &mut blocks, p: Some(&mut p), q: Some(&mut q) };
                parity::recover(&mut stripe, &lost)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, generate, recover);
criterion_main!(benches);
