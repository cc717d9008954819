/* The last program before the command: it replaces the interpreter by something that holds nothing
 * of the host, so that /proc/self/exe is a sealed memory file and never the engine's own binary.
 *
 *   argv: "sandbox-start" STATUS_FD MODE PATH COMMAND...
 *   argv: "sandbox-start" STATUS_FD "p" PROGRAM_FD MODE PATH COMMAND...
 *
 * MODE "x" executes PATH with the arguments COMMAND in this very process. MODE "i" does it in a
 * child, forwards signals to it, reaps orphans, and ends as the child ended. If the command cannot
 * be executed, its errno is written to STATUS_FD as four bytes; otherwise that is closed by exec.
 *
 * With "p" it makes the sandbox first, as `program.py` wrote it down: a clone, in which system calls
 * are made one after the other, each with the result that is expected of it. The clone's parent is
 * the caller's; its pid goes to STATUS_FD as eight bytes. After any other result the errno follows,
 * and nothing is executed. All descriptors but 0 to 2 and the two given are closed.
 *
 * No library, no writable data. */

typedef unsigned long u64;
typedef long s64;

#if defined(__x86_64__)
enum { WRITE = 1, CLOSE = 3, SIGTIMEDWAIT = 128, IOCTL = 16, FCNTL = 72, CLONE = 56, EXECVE = 59,
       EXIT = 231, WAIT4 = 61, KILL = 62, SETPGID = 109, SIGPROCMASK = 14, GETPID = 39, READ = 0,
       CLOSE_RANGE = 436 };
static s64 call(s64 n, s64 a, s64 b, s64 c, s64 d, s64 e) {
    s64 result;
    register s64 r10 __asm__("r10") = d;
    register s64 r8 __asm__("r8") = e;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}
__asm__(".globl _start\n_start:\n  xor %ebp,%ebp\n  mov %rsp,%rdi\n  and $-16,%rsp\n  call begin\n");
#elif defined(__aarch64__)
enum { WRITE = 64, CLOSE = 57, SIGTIMEDWAIT = 137, IOCTL = 29, FCNTL = 25, CLONE = 220,
       EXECVE = 221, EXIT = 94, WAIT4 = 260, KILL = 129, SETPGID = 154, SIGPROCMASK = 135,
       GETPID = 172, READ = 63, CLOSE_RANGE = 436 };
static s64 call(s64 n, s64 a, s64 b, s64 c, s64 d, s64 e) {
    register s64 x8 __asm__("x8") = n;
    register s64 x0 __asm__("x0") = a;
    register s64 x1 __asm__("x1") = b;
    register s64 x2 __asm__("x2") = c;
    register s64 x3 __asm__("x3") = d;
    register s64 x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}
__asm__(".globl _start\n_start:\n  mov x29,#0\n  mov x0,sp\n  bl begin\n");
#endif

enum { F_SETFD = 2, FD_CLOEXEC = 1, SIGCHLD = 17, WNOHANG = 1, TIOCSPGRP = 0x5410, SETMASK = 2,
       CANNOT_START = 127, MISUSE = 126, PROGRAM_BYTES = 1 << 16, PUT_ADDRESS = -1, ANY = -1,
       LAST_FD = 0x7FFFFFFF };

/* Offsets count from the start of the program. */
struct step {
    int number;                 /* of the system call; PUT_ADDRESS stores a pointer at an offset */
    unsigned char pointers;     /* bit n: argument n is an offset */
    unsigned char skipped;      /* so many steps follow that make no sense after `tolerated` */
    unsigned short tolerated;   /* an errno that is no failure */
    s64 expected;               /* the result, or ANY that is not negative */
    s64 arguments[5];
};
struct program {
    s64 clone_flags, count;
    struct step steps[];
};

static void leave(int status) {
    for (;;)
        call(EXIT, status, 0, 0, 0, 0);
}

static int is_equal(const char *a, const char *b) {
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static void execute(int status_fd, char **arguments, char **environment) {
    /* A filter that forbids fcntl costs the report of a failure, but nothing leaks. */
    if (call(FCNTL, status_fd, F_SETFD, FD_CLOEXEC, 0, 0) != 0 && call(CLOSE, status_fd, 0, 0, 0, 0))
        leave(CANNOT_START);
    int error = -call(EXECVE, (s64)arguments[0], (s64)(arguments + 1), (s64)environment, 0, 0);
    call(WRITE, status_fd, (s64)&error, sizeof error, 0, 0);
    leave(CANNOT_START);
}

/* Wait for all that ended; return the exit status of `child` if it is among them, else -1. */
static int reap(s64 child) {
    int found = -1, status;
    for (;;) {
        s64 pid = call(WAIT4, -1, (s64)&status, WNOHANG, 0, 0);
        if (pid <= 0)
            return found;
        if (pid == child)
            found = status & 127 ? 128 + (status & 127) : status >> 8 & 255;
    }
}

static void supervise(s64 child) {
    u64 all = ~0UL;
    for (;;) {
        s64 signal = call(SIGTIMEDWAIT, (s64)&all, 0, 0, sizeof all, 0);
        if (signal == SIGCHLD) {
            int status = reap(child);
            if (status >= 0)
                leave(status);
        } else if (signal > 0) {
            call(KILL, child, signal, 0, 0, 0);
        }
    }
}

static void run_as_init(int status_fd, char **arguments, char **environment) {
    u64 all = ~0UL, none = 0;
    call(SIGPROCMASK, SETMASK, (s64)&all, 0, sizeof all, 0);
    s64 child = call(CLONE, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        int group = call(GETPID, 0, 0, 0, 0, 0);
        call(SETPGID, 0, 0, 0, 0, 0);
        call(IOCTL, 0, TIOCSPGRP, (s64)&group, 0, 0); /* SIGTTOU is blocked; fails without a tty */
        call(SIGPROCMASK, SETMASK, (s64)&none, 0, sizeof none, 0);
        execute(status_fd, arguments, environment);
    }
    call(CLOSE, status_fd, 0, 0, 0, 0);
    if (child < 0)
        leave(CANNOT_START);
    supervise(child);
}

static void fail(int status_fd, s64 result) {
    int error = -result;
    call(WRITE, status_fd, (s64)&error, sizeof error, 0, 0);
    leave(CANNOT_START);
}

static s64 perform(char *base, const struct step *step) {
    s64 values[5];
    for (int i = 0; i < 5; i++)
        values[i] = step->arguments[i] + (step->pointers >> i & 1 ? (s64)base : 0);
    if (step->number == PUT_ADDRESS)
        return *(s64 *)values[0] = values[1], 0;
    return call(step->number, values[0], values[1], values[2], values[3], values[4]);
}

static void follow(struct program *program, int status_fd) {
    for (s64 at = 0; at < program->count; at++) {
        const struct step *step = program->steps + at;
        s64 result = perform((char *)program, step);
        if (result < 0 && result == -step->tolerated)
            at += step->skipped;
        else if (result < 0 || (step->expected != ANY && result != step->expected))
            fail(status_fd, result < 0 ? result : -MISUSE);
    }
}

/* Go on as the sandbox's first process. */
static void become_sandbox(int status_fd, int program_fd) {
    u64 space[PROGRAM_BYTES / sizeof(u64)];
    struct program *program = (struct program *)space;
    int last = status_fd > program_fd ? status_fd : program_fd;
    call(CLOSE_RANGE, last + 1, LAST_FD, 0, 0, 0);
    s64 size = call(READ, program_fd, (s64)space, sizeof space, 0, 0);
    call(CLOSE, program_fd, 0, 0, 0, 0);
    if (size < (s64)sizeof *program
        || size < (s64)(sizeof *program + program->count * sizeof *program->steps))
        leave(MISUSE);
    s64 child = call(CLONE, program->clone_flags, 0, 0, 0, 0);
    if (child != 0) {
        call(WRITE, status_fd, (s64)&child, sizeof child, 0, 0);
        leave(child < 0);
    }
    follow(program, status_fd);
}

static int number(const char *digit) {
    int value = 0;
    for (; *digit; digit++)
        value = value * 10 + (*digit - '0');
    return value;
}

__attribute__((used)) void begin(u64 *stack) {
    u64 count = stack[0];
    char **arguments = (char **)(stack + 1), **environment = arguments + count + 1;
    if (count < 5 || !is_equal(arguments[0], "sandbox-start"))
        leave(MISUSE);
    int status_fd = number(arguments[1]);
    if (*arguments[2] == 'p') {
        if (count < 7)
            leave(MISUSE);
        become_sandbox(status_fd, number(arguments[3]));
        arguments += 2;
    }
    if (*arguments[2] == 'i')
        run_as_init(status_fd, arguments + 3, environment);
    execute(status_fd, arguments + 3, environment);
}
