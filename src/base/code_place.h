/* SPDX-License-Identifier: MIT
 *
 * code_place - names a place in code for a person: the function that an address belongs to.
 */
#ifndef GCORN_BASE_CODE_PLACE_H
#define GCORN_BASE_CODE_PLACE_H

#include <stddef.h>

/* Writes into out, of size bytes, the name of the function of dynamic symbol that holds the address;
 * where none does, as with a static function, the object and the offset in it ("app.so+0x11a2", for
 * addr2line). Cut where it does not fit. Not async-signal-safe. dladdr(3). */
void code_place(char *out, size_t size, const void *address);

#endif
