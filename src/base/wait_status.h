/* SPDX-License-Identifier: MIT
 *
 * wait_status - the end of a child process in words, the same ones in every log line and answer.
 */
#ifndef GCORN_BASE_WAIT_STATUS_H
#define GCORN_BASE_WAIT_STATUS_H

enum { WAIT_STATUS_TEXT_SIZE = 80 };

/* Writes what a status from waitpid(2) says about a child that has ended: "exited with code 7" or
 * "was killed by SIGSEGV (Segmentation fault)", in English in every locale. Returns text. */
const char *wait_status_text(int status, char text[WAIT_STATUS_TEXT_SIZE]);

#endif
