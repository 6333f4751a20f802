/* priority.h - what a thread is to others that want the same processor.
 *
 * Neither needs a privilege, and neither can fail: what the kernel does not offer stays as it was.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STOA_BASE_PRIORITY_H
#define STOA_BASE_PRIORITY_H

/* The calling thread sleeps most of the time and works for some microseconds when it is woken (a journal's: the disk has
 * answered). With an ordinary slice it waits behind threads that compute, for milliseconds; with a short one the scheduler lets
 * it run first, and it gets no more of the processor for it. Linux has this since 6.12. */
void stoa_priority_brief(void);

/* The calling thread does what nobody waits for: while others want its processor it gets a tenth of it. */
void stoa_priority_background(void);

#endif
