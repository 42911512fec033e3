/* SPDX-License-Identifier: MIT
 *
 * image_copy - one file of an image, copied: into a sealed file in memory, or into a file of
 * app_copy_dir.
 */
#ifndef GCORN_SYSTEM_CODE_IMAGE_COPY_H
#define GCORN_SYSTEM_CODE_IMAGE_COPY_H

struct image;
struct image_part;

/* Opens the part's file and copies it: part->fd and, in app_copy_dir, part->copy. Where this system
 * allows no file in memory, part->fd is the file itself and image->from_disk is set, which is
 * logged once. 0, or -1 with errno; ETXTBSY: the file changed meanwhile. */
int image_copy_part(struct image *image, struct image_part *part);

#endif
