// Copies and compares memory in static binaries, in place of musl's functions.
//
// musl copies with `rep movsq` on x86-64, whose start takes longer than a short message, and compares byte by byte. A message then
// takes up to twice the processor time; see docs/performance.md. On ARM musl copies well, so that only comparing is replaced.
//
// Compiled by deploy/release with -ffreestanding -fno-tree-loop-distribute-patterns: the compiler must not turn these loops into calls of
// the functions that they implement. tests/interop/deploy/release.py compares them with plain loops.

#include <stddef.h>
#include <stdint.h>

typedef uint16_t __attribute__((may_alias, aligned(1))) u16;
typedef uint32_t __attribute__((may_alias, aligned(1))) u32;
typedef uint64_t __attribute__((may_alias, aligned(1))) u64;

#ifdef __x86_64__
typedef unsigned char __attribute__((vector_size(16), may_alias, aligned(1))) v16;

// From this size on, the processor's own copying is as fast or faster.
enum { LARGE = 2048 };

// Regions may overlap: up to 128 bytes, everything is loaded before the first store.
void *memmove(void *to, const void *from, size_t size) {
  unsigned char *d = to;
  const unsigned char *s = from;
#define AT(type, pointer, offset) (*(type *)((pointer) + (offset)))
#define LOAD(offset) AT(const v16, s, offset)
  if (size < 16) {
    if (size >= 8) {
      u64 a = AT(const u64, s, 0), b = AT(const u64, s, size - 8);
      AT(u64, d, 0) = a, AT(u64, d, size - 8) = b;
    } else if (size >= 4) {
      u32 a = AT(const u32, s, 0), b = AT(const u32, s, size - 4);
      AT(u32, d, 0) = a, AT(u32, d, size - 4) = b;
    } else if (size >= 2) {
      u16 a = AT(const u16, s, 0), b = AT(const u16, s, size - 2);
      AT(u16, d, 0) = a, AT(u16, d, size - 2) = b;
    } else if (size) {
      *d = *s;
    }
    return to;
  }
  if (size <= 32) {
    v16 a = LOAD(0), b = LOAD(size - 16);
    AT(v16, d, 0) = a, AT(v16, d, size - 16) = b;
    return to;
  }
  if (size <= 64) {
    v16 a = LOAD(0), b = LOAD(16), y = LOAD(size - 32), z = LOAD(size - 16);
    AT(v16, d, 0) = a, AT(v16, d, 16) = b, AT(v16, d, size - 32) = y, AT(v16, d, size - 16) = z;
    return to;
  }
  // The first and the last 64 bytes.
  v16 a = LOAD(0), b = LOAD(16), c = LOAD(32), e = LOAD(48);
  v16 w = LOAD(size - 64), x = LOAD(size - 48), y = LOAD(size - 32), z = LOAD(size - 16);
  if (size > 128) {
    size_t ahead = (size_t)(d - s);
    if (ahead >= size && (size_t)(s - d) >= size && size >= LARGE) {
      // Eight bytes at a time; the last 64 are stored below.
      unsigned char *end = d;
      size_t words = size / 8;
      __asm__ volatile("rep movsq" : "+D"(end), "+S"(s), "+c"(words) : : "memory");
    } else if (ahead >= size) {
      // Forwards; also if the source begins within the destination.
      for (size_t at = 64; at < size - 64; at += 64) {
        v16 i = LOAD(at), j = LOAD(at + 16), k = LOAD(at + 32), l = LOAD(at + 48);
        AT(v16, d, at) = i, AT(v16, d, at + 16) = j, AT(v16, d, at + 32) = k, AT(v16, d, at + 48) = l;
      }
    } else {
      // Backwards, since the destination begins within the source.
      for (size_t at = size - 64; at > 64; at -= 64) {
        v16 i = LOAD(at - 64), j = LOAD(at - 48), k = LOAD(at - 32), l = LOAD(at - 16);
        AT(v16, d, at - 64) = i, AT(v16, d, at - 48) = j, AT(v16, d, at - 32) = k, AT(v16, d, at - 16) = l;
      }
    }
  }
  AT(v16, d, 0) = a, AT(v16, d, 16) = b, AT(v16, d, 32) = c, AT(v16, d, 48) = e;
  AT(v16, d, size - 64) = w, AT(v16, d, size - 48) = x, AT(v16, d, size - 32) = y, AT(v16, d, size - 16) = z;
  return to;
}

void *memcpy(void *to, const void *from, size_t size) __attribute__((alias("memmove")));
#endif

// Both processors are little-endian: the first byte that differs is the most significant one after a swap.
static int order(uint64_t one, uint64_t other) {
  return __builtin_bswap64(one) < __builtin_bswap64(other) ? -1 : 1;
}

int memcmp(const void *one, const void *other, size_t size) {
  const unsigned char *a = one, *b = other;
  if (size >= 8) {
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
      uint64_t x = *(const u64 *)(a + at), y = *(const u64 *)(b + at);
      if (x != y) return order(x, y);
    }
    uint64_t x = *(const u64 *)(a + size - 8), y = *(const u64 *)(b + size - 8);
    return x == y ? 0 : order(x, y);
  }
  if (size >= 4) {
    uint32_t x = *(const u32 *)a, y = *(const u32 *)b;
    if (x != y) return __builtin_bswap32(x) < __builtin_bswap32(y) ? -1 : 1;
    x = *(const u32 *)(a + size - 4), y = *(const u32 *)(b + size - 4);
    return x == y ? 0 : __builtin_bswap32(x) < __builtin_bswap32(y) ? -1 : 1;
  }
  for (size_t at = 0; at < size; at++) {
    if (a[at] != b[at]) return a[at] - b[at];
  }
  return 0;
}

int bcmp(const void *one, const void *other, size_t size) __attribute__((alias("memcmp")));
