//! Cipher suites that hash other bytes of a handshake than rustls passes to them.

use std::borrow::Cow;

use rustls::crypto::hash::{Context, Hash, HashAlgorithm, Output};
use rustls::{CipherSuiteCommon, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};

/// Maps handshake messages to the bytes that are hashed in their place.
pub(super) type Map = fn(&[u8]) -> Cow<'_, [u8]>;

/// Returns the same cipher suite, with a hash function for handshakes that hashes the result of `map`. It is never
/// freed, because rustls requires cipher suites to live forever.
pub(super) fn mapping(suite: SupportedCipherSuite, map: Map) -> SupportedCipherSuite {
    let common = |of: &CipherSuiteCommon| CipherSuiteCommon {
        suite: of.suite,
        hash_provider: Box::leak(Box::new(MappingHash { hash: of.hash_provider, map })),
        confidentiality_limit: of.confidentiality_limit,
    };
    match suite {
        SupportedCipherSuite::Tls12(suite) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: common(&suite.common),
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg: suite.aead_alg,
            })))
        }
        SupportedCipherSuite::Tls13(suite) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: common(&suite.common),
                hkdf_provider: suite.hkdf_provider,
                aead_alg: suite.aead_alg,
                quic: suite.quic,
            })))
        }
    }
}

struct MappingHash {
    hash: &'static dyn Hash,
    map: Map,
}

/// Maps only incremental hashes: rustls hashes handshakes so, and nothing else.
impl Hash for MappingHash {
    fn start(&self) -> Box<dyn Context> {
        Box::new(MappingContext { context: self.hash.start(), map: self.map })
    }

    fn hash(&self, data: &[u8]) -> Output {
        self.hash.hash(data)
    }

    fn output_len(&self) -> usize {
        self.hash.output_len()
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.hash.algorithm()
    }

    fn fips(&self) -> bool {
        self.hash.fips()
    }
}

struct MappingContext {
    context: Box<dyn Context>,
    map: Map,
}

impl Context for MappingContext {
    fn fork_finish(&self) -> Output {
        self.context.fork_finish()
    }

    fn fork(&self) -> Box<dyn Context> {
        Box::new(Self { context: self.context.fork(), map: self.map })
    }

    fn finish(self: Box<Self>) -> Output {
        self.context.finish()
    }

    fn update(&mut self, data: &[u8]) {
        self.context.update(&(self.map)(data));
    }
}
