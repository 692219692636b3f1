"""Spark's driver, its JVM and its executors, as Spark itself tells: part of the dashboard of the lanes."""

from grafana.panels import QUIET, Row, above, ask, lines
from grafana.promql import RATE, highest, or_zero, rate, total
from observability import names

PYTHON = 'job="spark"'
QUEUES = '{__name__=~"spark_driver_LiveListenerBus_queue_.+_numDroppedEvents_Count"}'

MEMORY = Row(
    "Spark: memory and processor",
    (
        lines(
            "Heap of the JVM",
            "A saw below VIGIE_SPARK_HEAP_MB.",
            "bytes",
            ask(highest("spark_driver_ExecutorMetrics_JVMHeapMemory_Number"), "driver's heap"),
            ask(highest("spark_driver_ExecutorMetrics_JVMOffHeapMemory_Number"), "driver, outside the heap"),
            ask(total("spark_executor_memoryUsed_bytes"), "storage of the executors"),
            width=5,
        ),
        lines(
            "Compiled code of the JVM",
            "Level after some minutes, well below its room: when that is full, code is thrown away and compiled anew.",
            "bytes",
            ask(highest("spark_driver_jvm_pools_CodeCache_used_Number"), "code"),
            ask(highest("spark_driver_jvm_pools_CodeCache_max_Number"), "room"),
            width=4,
        ),
        lines(
            "Processor of the JVM",
            "Below one core at the usual rate; two while a backlog drains.",
            "suffix: cores",
            ask(f"sum(rate(spark_driver_JVMCPU_jvmCpuTime_Number[{RATE}])) / 1e9", "jvm"),
            width=5,
        ),
        lines(
            "Memory of the driver's Python",
            "Level after the first minutes.",
            "bytes",
            ask(total("process_resident_memory_bytes", where=PYTHON), "python"),
            width=5,
        ),
        lines(
            "Processor of the driver's Python",
            "Below half a core: the work is in the JVM and its workers.",
            "suffix: cores",
            ask(rate("process_cpu_seconds_total", where=PYTHON), "python"),
            width=5,
        ),
    ),
)

WORK = Row(
    "Spark: tasks",
    (
        lines(
            "Tasks done and failed",
            "Failed at 0: a failed task is tried again, then its query fails.",
            "suffix: tasks/s",
            ask(f"sum(rate(spark_executor_completedTasks_total[{RATE}]))", "done"),
            ask(f"sum(rate(spark_executor_failedTasks_total[{RATE}]))", "failed"),
            width=6,
            runbook="lanes",
        ),
        lines(
            "Share of time in garbage collection",
            "Below a twentieth, by executor.",
            "percentunit",
            ask(f"sum by (executor_id) (rate(spark_executor_totalGCTime_seconds_total[{RATE}]))", "{{executor_id}}"),
            width=6,
            limits=above(0.05, 0.2),
        ),
        lines(
            "Events that Spark's listeners missed",
            "0. Missed events are progress that is told too late or not at all, never data.",
            "short",
            ask(f"sum({QUEUES})", "missed"),
            width=6,
            limits=above(1, 100),
        ),
        lines(
            "Attempts after a failed one",
            "None. `lane …` is a restart of a query, the others are a store that did not answer.",
            "cps",
            ask(or_zero(rate(names.RETRIES, "what", PYTHON), "what"), "{{what}}"),
            width=6,
            limits=QUIET,
            runbook="lanes",
        ),
    ),
)
