from ozelot.etl.tasks import ORMTask


class LoadLate(ORMTask):
    creates = ()

    def run(self):
        pass
