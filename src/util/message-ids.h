/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The events that have a name for machines: MESSAGE_ID= in the journal. They are explained in
 * node/worker-mesh.catalog, which "journalctl -x" shows. An id never changes its meaning. */

#define MESSAGE_JOB_STARTED "4a2602141e824ded8b114f58bb58a19a"      /* and runs for a while */
#define MESSAGE_JOB_FINISHED "71ec16ecaa40431c909f7a02f51a62c5"     /* its end, one line a job */
#define MESSAGE_JOB_OOM_KILLED "6f493b66ac5f49de9913a184ef5c71dd"   /* its end, for want of memory */
#define MESSAGE_JOB_ATTEMPT_OVER "40d4a278784c4835addaedd8d98c1b81" /* it does not decide its job */
#define MESSAGE_JOB_ATTEMPT_LATE "784a99171cbc409ca2038ce303a882d6" /* the end of one that was given up */
#define MESSAGE_JOB_CANCEL "71e3c5e773c045a8bd71bd4e4cdeedf7"       /* asked for by somebody */
#define MESSAGE_JOBS_TAKEN_OVER "984b16613f544fe8b645fcf88896e0a8"  /* of a node that is gone */
#define MESSAGE_JOB_YIELDED "5bf73a148fa24491ba97909577627ad8"      /* to the node that took it over */
#define MESSAGE_JOB_MERGED "3a2475ea89ce40d0a99a7f61f064164c" /* after a split: which of two ends counts */
#define MESSAGE_JOB_OUTPUT_LEFT_OUT "e5291a7e11b340149febedeeeb7f095e" /* of what a job printed */
#define MESSAGE_SUBMISSIONS_REFUSED "1850348407154cfd8be25f77968460c1" /* so many, for these reasons */
#define MESSAGE_DATABASE_DAMAGED "6cf0573a1eee4694867f80deccdd44d8"    /* and set aside */
#define MESSAGE_DATABASE_FAILING "86a7c6139ffc4fc68914055de22e79df"    /* no new jobs are taken */
#define MESSAGE_DATABASE_RECOVERED "8decb61423704f53861886f9b09fa4e5"
#define MESSAGE_DATABASE_NEWER "612148e41ebc4aee885948f53d69060a" /* made by a newer version */
#define MESSAGE_STATE_IN_USE "a1bbbe5119584a059464e9bbf177db44"   /* by another daemon */
#define MESSAGE_DUPLICATE_NODE "aa905a461f214872a2801e3b0ac857f8" /* another live node has our id */
#define MESSAGE_DUPLICATE_NODE_GONE "31ea77139f784a4ebf1982c386dbeb28"
#define MESSAGE_IDENTITY_COPIED "8a4e681dfa1e4d0c89ad2eb1f1e36581"      /* from another machine */
#define MESSAGE_EXECUTOR_GONE "30c461ba4a7f4ad38a4ea21931d4630e"        /* more than once in a short time */
#define MESSAGE_EXECUTOR_SILENT "5317f454b202494c9db11cdd0895d3ae"      /* it says nothing */
#define MESSAGE_EXECUTOR_FAILED "7e1ba72787ca4c71bf02ed657d6a9fc5"      /* it cannot be started */
#define MESSAGE_LIMITS_UNAVAILABLE "9e74b91c8e5d4d5fb8b2ef749e91c519"   /* of jobs, on this machine */
#define MESSAGE_CONFIG_WRONG "7c969509f0b24a37883ef9bc88ad1196"         /* on a reload: the old one stays */
#define MESSAGE_CONFIG_NEEDS_RESTART "abefd55862eb44c792222ac5425a44c2" /* changed settings */
#define MESSAGE_GROUP_MISSING "5a93b42df4c946b4bac845366a1a1d06"        /* of the administrators */
#define MESSAGE_LOG_LEFT_OUT "6a4354e844864644b0c5ee4dbf690fd1"         /* of our own messages */
#define MESSAGE_NODE_DRAINED "b3b6f89a85344bcda8c6857cf266029f"         /* asked for, now or before */
#define MESSAGE_NODE_RESUMED "dbe950bd41e94574a3bb2e5c50d05ea3"         /* likewise */
#define MESSAGE_DRAIN_TIME_OVER "7a3ee1d7f48049819b424db912cd496f"      /* what still runs is ended */
#define MESSAGE_NODE_INVITED "7c3824c6a4c7495692de8a2f5093f03b"         /* and has got the keys */
#define MESSAGE_SECURITY_OPEN "8482c79273024e85836bd63da3eb085b"        /* by configuration */
#define MESSAGE_PEER_LOST "51d07155c421e199276045ce411e500f" /* a node of the mesh does not answer */
